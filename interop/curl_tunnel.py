#!/usr/bin/env python3
"""Downloads through a tunnel that libcurl opens over HTTP/2: curl_tunnel.py PROXY USER:PASSWORD URL

Prints the status, the length of the body and its SHA-256, and on standard error what libcurl does.
Needs pip's `curl-cffi`, which carries a libcurl that speaks HTTP/2 to proxies; the one of most systems
does not. Certificates are not verified.
"""
import hashlib, io, sys

from curl_cffi import Curl, CurlInfo, CurlOpt

CURLPROXY_HTTPS2 = 3

proxy, credentials, url = sys.argv[1:]
body, curl = io.BytesIO(), Curl()
for option, value in [
    (CurlOpt.URL, url.encode()),
    (CurlOpt.PROXY, proxy.encode()),
    (CurlOpt.PROXYTYPE, CURLPROXY_HTTPS2),
    (CurlOpt.PROXYUSERPWD, credentials.encode()),
    (CurlOpt.PROXY_SSL_VERIFYPEER, 0),
    (CurlOpt.PROXY_SSL_VERIFYHOST, 0),
    (CurlOpt.HTTPPROXYTUNNEL, 1),
    (CurlOpt.TIMEOUT, 60),
    (CurlOpt.VERBOSE, 1),
    (CurlOpt.WRITEDATA, body),
]:
    curl.setopt(option, value)
curl.perform()
status, body = curl.getinfo(CurlInfo.RESPONSE_CODE), body.getvalue()
print(status, len(body), hashlib.sha256(body).hexdigest())
