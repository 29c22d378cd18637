#!/usr/bin/env python3
"""A request through a tunnel that libcurl opens: curl_tunnel.py 1|2 PROXY USER:PASSWORD URL [FILE]

The first argument is the version of HTTP that is spoken with the proxy. An http URL is fetched by CONNECT;
to an https URL the file is posted by CONNECT-UDP, with HTTP/3 inside. Prints the status, the length of the
answer and its SHA-256, and on standard error what libcurl does.

Needs pip's `curl-cffi`, which carries a libcurl that knows all of this; that of most systems does not.
Certificates are not verified.
"""
import hashlib, io, sys

from curl_cffi import Curl, CurlInfo, CurlOpt

CURLPROXY_HTTPS = {"1": 2, "2": 3}
HTTP_3_ONLY = 31

version, proxy, credentials, url, *file = sys.argv[1:]
body, curl = io.BytesIO(), Curl()
for option, value in [
    (CurlOpt.URL, url.encode()),
    (CurlOpt.PROXY, proxy.encode()),
    (CurlOpt.PROXYTYPE, CURLPROXY_HTTPS[version]),
    (CurlOpt.PROXYUSERPWD, credentials.encode()),
    (CurlOpt.PROXY_SSL_VERIFYPEER, 0),
    (CurlOpt.PROXY_SSL_VERIFYHOST, 0),
    (CurlOpt.SSL_VERIFYPEER, 0),
    (CurlOpt.SSL_VERIFYHOST, 0),
    (CurlOpt.HTTPPROXYTUNNEL, 1),
    (CurlOpt.TIMEOUT, 60),
    (CurlOpt.VERBOSE, 1),
    (CurlOpt.WRITEDATA, body),
]:
    curl.setopt(option, value)
if file:
    curl.setopt(CurlOpt.HTTP_VERSION, HTTP_3_ONLY)
    posted = open(file[0], "rb").read()
    curl.setopt(CurlOpt.POSTFIELDSIZE, len(posted))
    curl.setopt(CurlOpt.POSTFIELDS, posted)
curl.perform()
status, body = curl.getinfo(CurlInfo.RESPONSE_CODE), body.getvalue()
print(status, len(body), hashlib.sha256(body).hexdigest())
