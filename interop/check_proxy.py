#!/usr/bin/env python3
"""What does this MASQUE proxy really speak? One PASS, FAIL or INFO line for each capability.

    check_proxy.py https://127.0.0.1:8443 [--draft03] [--connect-tcp] [--udp-over-h1]
                   [--auth 'Basic dXNlcjpwYXNz']
                   [--drain-pid PID] [--only h2-tcp] [--skip h1] [-v]

An HTTP/2 client that looks at every frame and a plain one of HTTP/1.1, independent of our own. Needs
pip's `h2`. It starts its own TCP and UDP targets on loopback, so nothing leaves the machine, and does
not verify the certificate. INFO lines are observations, never failures; what only some proxies speak
is asked for by an option and then must pass. Exit status 1 if a line says FAIL.
"""
import argparse, os, select, signal, socket, ssl, struct, sys, threading, time
from urllib.parse import urlparse

import h2.config, h2.connection, h2.events, h2.exceptions, h2.settings

# ------------------------------------------------------------------ varint and capsule codec


def varint(n):  # RFC 9000 section 16
    if n < 1 << 6:
        return bytes([n])
    if n < 1 << 14:
        return struct.pack("!H", n | 0x4000)
    if n < 1 << 30:
        return struct.pack("!I", n | 0x80000000)
    return struct.pack("!Q", n | 0xC000000000000000)


def read_varint(b, i):  # -> (value, next index) or (None, i) when short
    if i >= len(b):
        return None, i
    size = 1 << (b[i] >> 6)
    if i + size > len(b):
        return None, i
    return int.from_bytes(b[i:i + size], "big") & ((1 << (8 * size - 2)) - 1), i + size


def capsule(ctype, value):
    return varint(ctype) + varint(len(value)) + value


def udp_capsule(payload, context=0):  # DATAGRAM capsule (type 0) holding context id + UDP payload
    return capsule(0, varint(context) + payload)


def pop_capsule(buf):  # takes one whole capsule off a bytearray -> (type, value) or None
    t, i = read_varint(buf, 0)
    if t is None:
        return None
    n, i = read_varint(buf, i)
    if n is None or i + n > len(buf):
        return None
    value = bytes(buf[i:i + n])
    del buf[:i + n]
    return t, value


def draft03_chunk(payload):  # draft-ietf-masque-connect-udp-03 has no context ids
    return capsule(0, payload)


def tcp_capsule(payload, final=False):  # connect-tcp: DATA and FINAL_DATA, provisional numbers
    return capsule(0x2028d7f1 if final else 0x2028d7f0, payload)


def pop_udp(buf, draft03=False):  # next UDP payload, skipping other capsules and contexts
    while True:
        c = pop_capsule(buf)
        if c is None:
            return None
        if c[0] != 0:
            continue
        if draft03:
            return c[1]
        ctx, i = read_varint(c[1], 0)
        if ctx == 0:
            return c[1][i:]


# ------------------------------------------------------------------ targets on loopback


class Targets:
    """TCP target: the first line picks what it does.  UDP target: echo; b'SIZE n' -> n bytes back."""

    def __init__(self, host):
        fam = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.host, self.log = host, []
        self.tcp = socket.socket(fam, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((host, 0))
        self.tcp.listen(256)
        self.tcp_port = self.tcp.getsockname()[1]
        self.udp = socket.socket(fam, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.udp.bind((host, 0))
        self.udp_port = self.udp.getsockname()[1]
        self.udp_seen = []  # (peer, length) of each datagram received
        s = socket.socket(fam, socket.SOCK_STREAM)  # a port that refuses: bound, then closed
        s.bind((host, 0))
        self.closed_port = s.getsockname()[1]
        s.close()
        threading.Thread(target=self._accept, daemon=True).start()
        threading.Thread(target=self._udp, daemon=True).start()

    def _accept(self):
        while True:
            c, _ = self.tcp.accept()
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _serve(self, c):
        cmd = b""
        try:
            while not cmd.endswith(b"\n"):
                b = c.recv(1)
                if not b:
                    self.log.append("EOF before command")
                    return c.close()
                cmd += b
            cmd = cmd.strip().decode()
            if cmd == "ECHO":  # echo until EOF
                while d := c.recv(65536):
                    c.sendall(d)
            elif cmd == "HALF":  # answer only after the client's EOF
                n = 0
                while d := c.recv(65536):
                    n += len(d)
                time.sleep(0.3)
                c.sendall(b"after EOF %d" % n)
            elif cmd == "CLOSE":  # orderly close straight away
                c.sendall(b"bye")
            elif cmd.startswith("BLAST "):  # write n bytes, close at once
                c.sendall(b"q" * int(cmd[6:]))
            elif cmd == "TFIN":  # half-close from the target, then keep reading
                c.sendall(b"bye")
                c.shutdown(socket.SHUT_WR)
                n = 0
                while d := c.recv(65536):
                    n += len(d)
                self.log.append("after target FIN read %d" % n)
            elif cmd == "RST":  # abortive close
                c.sendall(b"x")
                time.sleep(0.2)
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif cmd == "WATCH":  # how does the proxy end the TCP connection?
                c.sendall(b"ok")
                while c.recv(65536):
                    pass
                self.log.append("EOF")
            elif cmd == "HOLD":  # never read, never write
                time.sleep(3600)
        except ConnectionResetError:
            self.log.append("RST")
        except OSError as e:
            self.log.append(repr(e))
        c.close()

    def _udp(self):
        while True:
            try:
                d, peer = self.udp.recvfrom(65536)
            except OSError:
                continue
            self.udp_seen.append((peer, len(d)))
            if d.startswith(b"SIZE "):
                d = b"z" * int(d[5:])
            try:
                self.udp.sendto(d, peer)
            except OSError:
                pass


# ------------------------------------------------------------------ HTTP/2 client (blocking)


def tls_connect(addr, alpn, timeout=5):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
    ctx.set_alpn_protocols(alpn)
    s = socket.create_connection(addr, timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ctx.wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False)


class Stream:
    def __init__(self):
        self.headers = self.reset = self.trailers = None
        self.informational, self.data, self.ended = [], bytearray(), False

    @property
    def status(self):
        return dict(self.headers)[":status"] if self.headers else None


class H2:
    def __init__(self, addr, auth=None):
        self.sock = tls_connect(addr, ["h2"])
        self.alpn, self.auth = self.sock.selected_alpn_protocol(), auth
        self.c = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8", validate_outbound_headers=False,
            normalize_outbound_headers=False, validate_inbound_headers=False))
        self.c.local_settings.enable_push = 0
        self.c.initiate_connection()
        self.c.increment_flow_control_window(8 << 20)
        self.flush()
        self.streams, self.settings, self.goaway, self.closed = {}, {}, [], None
        self.conn_window_updates, self.pongs, self.raw = 0, 0, b""
        # The client preface is out; the server's SETTINGS come first.
        self.wait(lambda: self.settings, 3)

    def flush(self):
        d = self.c.data_to_send()
        if d:
            self.sock.sendall(d)

    def pump(self, timeout):
        """Read once (up to timeout seconds), apply events."""
        if self.closed:
            time.sleep(min(timeout, 0.05))
            return
        if not self.sock.pending() and not select.select([self.sock], [], [], timeout)[0]:
            return
        try:
            d = self.sock.recv(65536)
        except (ssl.SSLWantReadError, socket.timeout):
            return
        except OSError as e:
            self.closed = repr(e)
            return
        if not d:
            self.closed = "EOF"
            return
        try:
            evs = self.c.receive_data(self.without_goaway(d))
        except h2.exceptions.ProtocolError as e:
            self.closed = "client saw a protocol error: %r" % e
            return
        for e in evs:
            st = self.streams.get(getattr(e, "stream_id", None))
            if isinstance(e, h2.events.RemoteSettingsChanged):
                for k, v in e.changed_settings.items():
                    self.settings[int(k)] = v.new_value
                if not e.changed_settings:
                    self.settings.setdefault(0, 0)
            elif isinstance(e, h2.events.WindowUpdated) and not e.stream_id:
                self.conn_window_updates += e.delta
            elif isinstance(e, h2.events.PingAckReceived):
                self.pongs += 1
            elif st is None:
                pass
            elif isinstance(e, h2.events.InformationalResponseReceived):
                st.informational.append(dict(e.headers).get(":status"))
            elif isinstance(e, h2.events.ResponseReceived):
                st.headers = list(e.headers)
            elif isinstance(e, h2.events.DataReceived):
                st.data += e.data
                self.c.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            elif isinstance(e, h2.events.TrailersReceived):
                st.trailers = list(e.headers)
            elif isinstance(e, h2.events.StreamEnded):
                st.ended = True
            elif isinstance(e, h2.events.StreamReset):
                st.reset = int(e.error_code)
        try:
            self.flush()
        except OSError as e:
            self.closed = repr(e)

    def without_goaway(self, d):
        """Record GOAWAY frames and cut them out: the h2 library would drop all later frames."""
        self.raw += d
        out = b""
        while len(self.raw) >= 9:
            n = 9 + int.from_bytes(self.raw[:3], "big")
            if len(self.raw) < n:
                break
            f, self.raw = self.raw[:n], self.raw[n:]
            if f[3] == 7:
                last, code = struct.unpack("!II", f[9:17])
                self.goaway.append((code, last & 0x7FFFFFFF, bytes(f[17:])))
            else:
                out += f
        return out

    def wait(self, cond, timeout=4):
        end = time.time() + timeout
        while not cond() and not self.closed and time.time() < end:
            self.pump(min(0.2, max(0.0, end - time.time())))
        return bool(cond())

    def open(self, headers, end=False):
        sid = self.c.get_next_available_stream_id()
        self.streams[sid] = Stream()
        if self.auth:
            headers = headers + [("proxy-authorization", self.auth)]
        self.c.send_headers(sid, headers, end_stream=end)
        self.flush()
        return sid

    def connect_tcp(self, host, port):
        return self.open([(":method", "CONNECT"), (":authority", hostport(host, port))])

    def connect_udp(self, authority, host, port, capsule_header=True):
        h = [(":method", "CONNECT"), (":protocol", "connect-udp"), (":scheme", "https"),
             (":authority", authority), (":path", masque_path(host, port))]
        return self.open(h + ([("capsule-protocol", "?1")] if capsule_header else []))

    def response(self, sid, timeout=8):
        st = self.streams[sid]
        self.wait(lambda: st.headers or st.reset is not None or st.ended, timeout)
        return st

    def send(self, sid, data, end=False, pieces=None):
        """DATA under flow control; reads while it waits for window."""
        data, st = memoryview(data), self.streams[sid]
        while data:
            n = min(self.c.local_flow_control_window(sid), self.c.max_outbound_frame_size, len(data))
            if pieces:
                n = min(n, pieces)
            if n <= 0:
                self.pump(1)
                if self.closed or st.reset is not None:
                    return False
                continue
            self.c.send_data(sid, bytes(data[:n]))
            self.flush()
            data = data[n:]
            self.pump(0)
        if end:
            self.c.end_stream(sid)
            self.flush()
        return True

    def reset(self, sid, code=8):
        self.c.reset_stream(sid, code)
        self.flush()

    def udp_recv(self, sid, timeout=2, draft03=False):
        st, out = self.streams[sid], []

        def got():  # may be called again after it was true
            p = None if out else pop_udp(st.data, draft03)
            if p is not None:
                out.append(p)
            return out or st.reset is not None or st.ended
        self.wait(got, timeout)
        return out[0] if out else None

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass


def hostport(host, port):
    return ("[%s]:%d" if ":" in host else "%s:%d") % (host, port)


def tcp_path(T):
    return "/.well-known/masque/tcp/%s/%d/" % (T.host.replace(":", "%3A"), T.tcp_port)


def masque_path(host, port):  # RFC 9298's default; ':' of an IPv6 address must be percent-encoded
    return "/.well-known/masque/udp/%s/%d/" % (host.replace(":", "%3A"), port)


# ------------------------------------------------------------------ report lines

results = []


def line(kind, name, text=""):
    results.append(kind)
    print("%-4s %-28s %s" % (kind, name, text), flush=True)


def describe(st):
    if st.headers is None:
        return "no response, RST_STREAM %s" % st.reset if st.reset is not None else "no response (ended=%s)" % st.ended
    t = " ".join("%s=%s" % (k.lstrip(":"), v) for k, v in st.headers)
    return t + (" RST_STREAM=%d" % st.reset if st.reset is not None else "") + (" END_STREAM" if st.ended else "")


def check(args, name):
    """Decorator: run now; True/False/None or (ok, text) -> PASS/FAIL/INFO; an exception is a FAIL."""
    def run(f):
        if args.only and not any(name.startswith(o) for o in args.only):
            return
        if args.skip and any(name.startswith(o) for o in args.skip):
            return
        try:
            r = f()
        except Exception as e:  # noqa: BLE001 - report it, go on
            r = (False, "%s: %s" % (type(e).__name__, e))
            if args.verbose:
                import traceback
                traceback.print_exc()
        ok, text = r if isinstance(r, tuple) else (r, "")
        line("INFO" if ok is None else "PASS" if ok else "FAIL", name, text)
    return run


def show_code(st):
    out = (["END_STREAM"] if st.ended else []) + (["RST_STREAM %d" % st.reset] if st.reset is not None else [])
    return " + ".join(out) or "neither END_STREAM nor RST_STREAM"


# ------------------------------------------------------------------ HTTP/2 checks


def h2_checks(args, addr, authority, T):
    new = lambda: H2(addr, args.auth)  # noqa: E731

    def tunnel(cmd):
        c = new()
        sid = c.connect_tcp(T.host, T.tcp_port)
        st = c.response(sid)
        if st.status != "200":
            raise RuntimeError("CONNECT: " + describe(st))
        c.send(sid, cmd + b"\n")
        return c, sid, st

    @check(args, "h2-settings")
    def _():
        c = new()
        names = {1: "HEADER_TABLE_SIZE", 2: "ENABLE_PUSH", 3: "MAX_CONCURRENT_STREAMS", 4: "INITIAL_WINDOW_SIZE",
                 5: "MAX_FRAME_SIZE", 6: "MAX_HEADER_LIST_SIZE", 8: "ENABLE_CONNECT_PROTOCOL", 9: "NO_RFC7540_PRIORITIES"}
        c.pump(0.3)
        s = " ".join("%s=%d" % (names.get(k, hex(k)), v) for k, v in sorted(c.settings.items()) if k)
        return None, "alpn=%s %s conn_window=65535+%d" % (c.alpn, s, c.conn_window_updates)

    @check(args, "h2-tcp-echo")
    def _():
        t = time.time()
        c = new()
        sid = c.connect_tcp(T.host, T.tcp_port)
        st = c.response(sid)
        early = "" if st.headers is None else " (headers before any DATA was sent)"
        if st.headers is None:  # some proxies answer only once bytes flow
            c.send(sid, b"ECHO\n")
        else:
            c.send(sid, b"ECHO\nhello")
        ok = st.status == "200" and c.wait(lambda: bytes(st.data) == b"hello")
        return ok, describe(st) + early + " %.0f ms" % ((time.time() - t) * 1e3)

    @check(args, "h2-tcp-early-data")
    def _():  # DATA sent before the 200 arrives must not be lost
        c = new()
        sid = c.connect_tcp(T.host, T.tcp_port)
        c.send(sid, b"ECHO\nearly")
        st = c.streams[sid]
        return c.wait(lambda: bytes(st.data) == b"early"), describe(st)

    @check(args, "h2-tcp-hostname")
    def _():
        c = new()
        sid = c.connect_tcp("localhost", T.tcp_port)
        st = c.response(sid)
        return st.status == "200", describe(st)

    @check(args, "h2-tcp-ipv6")
    def _():
        try:
            s6 = socket.socket(socket.AF_INET6)
            s6.bind(("::1", 0))
            s6.listen(5)
        except OSError as e:
            return None, "no IPv6 loopback here: %s" % e
        c = new()
        st = c.response(c.connect_tcp("::1", s6.getsockname()[1]))
        return None, describe(st)

    @check(args, "h2-tcp-bad-authority")
    def _():
        out = []
        for a in (T.host, T.host + ":0", T.host + ":99999", ":%d" % T.tcp_port, ""):
            c = new()
            st = c.response(c.open([(":method", "CONNECT"), (":authority", a)]), 4)
            out.append("%r -> %s" % (a, st.status or show_code(st) + (" GOAWAY" if c.goaway else "") + (" closed" if c.closed else "")))
            c.close()
        return None, "; ".join(out)

    @check(args, "h2-tcp-bulk-echo")
    def _():
        c, sid, st = tunnel(b"ECHO")
        blob = os.urandom(args.bulk)
        t = time.time()
        c.send(sid, blob)
        ok = c.wait(lambda: len(st.data) >= len(blob), 60) and bytes(st.data) == blob
        return ok, "%d bytes each way, %.2f s" % (len(st.data), time.time() - t)

    @check(args, "h2-tcp-client-half-close")
    def _():  # END_STREAM -> FIN at the target; the other direction stays open
        c, sid, st = tunnel(b"HALF")
        c.send(sid, b"12345", end=True)
        c.wait(lambda: st.ended or st.reset is not None)
        return bytes(st.data) == b"after EOF 5" and st.ended, "got %r, then %s" % (bytes(st.data), show_code(st))

    @check(args, "h2-tcp-target-close")
    def _():
        c, sid, st = tunnel(b"CLOSE")
        c.wait(lambda: st.ended or st.reset is not None)
        c.pump(0.3)
        return bytes(st.data) == b"bye" and st.ended, "got %r, then %s" % (bytes(st.data), show_code(st))

    @check(args, "h2-tcp-close-under-load")
    def _():  # target writes 3 MB and closes; the client has 64 KiB of stream window and pauses
        c, sid, st = tunnel(b"BLAST 3000000")
        time.sleep(1)
        c.wait(lambda: st.ended or st.reset is not None, 10)
        return len(st.data) == 3000000 and st.ended, "%d of 3000000 bytes, then %s" % (len(st.data), show_code(st))

    @check(args, "h2-tcp-target-half-close")
    def _():  # target FINs first; may the client still send?
        T.log.clear()
        c, sid, st = tunnel(b"TFIN")
        c.wait(lambda: st.ended or st.reset is not None)
        c.pump(0.5)
        if st.reset is not None:
            time.sleep(0.3)
            return None, "%s: client cannot go on sending; target: %s" % (show_code(st), T.log or "still open")
        try:
            c.send(sid, b"x" * 1000, end=True)
        except h2.exceptions.ProtocolError as e:
            return None, "%s, then %s (%s); target: %s" % ("END_STREAM", show_code(st), type(e).__name__, T.log)
        c.wait(lambda: T.log or st.reset is not None, 2)
        return None, "END_STREAM, sent 1000 more; target: %s, stream: %s" % (T.log, show_code(st))

    @check(args, "h2-tcp-target-reset")
    def _():
        c, sid, st = tunnel(b"RST")
        c.wait(lambda: st.ended or st.reset is not None)
        return None, "target sent RST -> " + show_code(st)

    @check(args, "h2-tcp-client-reset")
    def _():
        T.log.clear()
        c, sid, st = tunnel(b"WATCH")
        c.wait(lambda: st.data)
        c.reset(sid)
        end = time.time() + 3
        while not T.log and time.time() < end:
            c.pump(0.1)
        return None, "client sent RST_STREAM(CANCEL) -> target saw %s" % (T.log or "nothing within 3 s")

    @check(args, "h2-tcp-conn-drop")
    def _():
        T.log.clear()
        c, sid, st = tunnel(b"WATCH")
        c.wait(lambda: st.data)
        c.close()
        end = time.time() + 3
        while not T.log and time.time() < end:
            time.sleep(0.05)
        return None, "client closed the TLS connection -> target saw %s" % (T.log or "nothing within 3 s")

    @check(args, "h2-tcp-refused")
    def _():
        t = time.time()
        c = new()
        st = c.response(c.connect_tcp(T.host, T.closed_port), 20)
        c.wait(lambda: st.ended or st.reset is not None, 2)
        return None, "%s body=%r %.1f s" % (describe(st), bytes(st.data[:120]), time.time() - t)

    @check(args, "h2-tcp-bad-name")
    def _():
        t = time.time()
        c = new()
        st = c.response(c.connect_tcp("no-such-host.invalid", 80), args.connect_wait)
        c.wait(lambda: st.ended or st.reset is not None, 1)
        return None, "%s body=%r %.1f s" % (describe(st), bytes(st.data[:120]), time.time() - t)

    @check(args, "h2-tcp-many-streams")
    def _():
        c = new()
        limit = c.settings.get(3, 1 << 31)
        n = min(args.streams, limit)
        t = time.time()
        sids = [c.connect_tcp(T.host, T.tcp_port) for _ in range(n)]
        c.wait(lambda: all(c.streams[s].headers for s in sids), 10)
        up = [s for s in sids if c.streams[s].status == "200"]
        for s in up:
            c.send(s, b"ECHO\n%d" % s)
        good = lambda: [s for s in up if bytes(c.streams[s].data) == b"%d" % s]  # noqa: E731
        c.wait(lambda: len(good()) == n, 5)
        return len(good()) == n, "%d of %d tunnels on one connection at once, %.1f s" % (len(good()), n, time.time() - t)

    @check(args, "h2-tcp-stalled-target")
    def _():  # a target that never reads: how much is taken, and do other tunnels of the connection go on?
        c, sid, st = tunnel(b"HOLD")
        sent, quiet = 0, time.time()
        while time.time() - quiet < 1.5 and sent < 64 << 20 and st.reset is None and not c.closed:
            n = min(c.c.local_flow_control_window(sid), 16384)
            if n > 0:
                c.c.send_data(sid, bytes(n))
                c.flush()
                sent, quiet = sent + n, time.time()
            c.pump(0 if n > 0 else 0.1)
        left = c.c.outbound_flow_control_window
        sid2 = c.connect_tcp(T.host, T.tcp_port)
        ok = False
        if c.response(sid2, 3).status == "200" and left > 100:
            c.send(sid2, b"ECHO\nother")
            ok = c.wait(lambda: bytes(c.streams[sid2].data) == b"other", 3)
        return None, "stalled after %d bytes; connection window left %d; another tunnel %s" % (
            sent, left, "works" if ok else "IS BLOCKED")

    @check(args, "h2-tcp-stalled-client")
    def _():  # a client that gives no stream window: do other tunnels of the connection go on?
        c = new()
        c.c.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        c.flush()
        c.pump(0.2)
        sid = c.connect_tcp(T.host, T.tcp_port)
        c.response(sid)
        c.send(sid, b"CLOSE\n")
        sid2 = c.connect_tcp(T.host, T.tcp_port)
        st2 = c.response(sid2)
        c.c.increment_flow_control_window(1000, sid2)
        c.send(sid2, b"ECHO\nother")
        ok = c.wait(lambda: bytes(st2.data) == b"other", 3)
        held = bytes(c.streams[sid].data)
        if c.streams[sid].reset is not None:
            return False, "stream was reset (RST_STREAM %d) while its data waited for window" % c.streams[sid].reset
        c.c.increment_flow_control_window(1000, sid)
        c.flush()
        got = c.wait(lambda: bytes(c.streams[sid].data) == b"bye" and c.streams[sid].ended, 3)
        return ok and held == b"" and got, "other tunnel %s; held back %s; data after WINDOW_UPDATE %s" % (
            "works" if ok else "blocked", held == b"", got)

    # -------------------------------------------------------------- connect-udp (RFC 9298)
    state = {}

    @check(args, "h2-udp-echo")
    def _():
        c = new()
        sid = c.connect_udp(authority, T.host, T.udp_port)
        st = c.response(sid)
        if st.status != "200":
            return False, describe(st) + " body=%r" % bytes(st.data[:100])
        c.send(sid, udp_capsule(b"ping"))
        r = c.udp_recv(sid)
        state["udp"] = r == b"ping"
        return r == b"ping", "%s -> %r" % (describe(st), r)

    if state.get("udp"):
        def utunnel():
            c = new()
            sid = c.connect_udp(authority, T.host, T.udp_port)
            st = c.response(sid)
            if st.status != "200":
                raise RuntimeError("connect-udp: " + describe(st))
            return c, sid, st

        @check(args, "h2-udp-no-capsule-header")
        def _():
            c = new()
            sid = c.connect_udp(authority, T.host, T.udp_port, capsule_header=False)
            st = c.response(sid)
            c.send(sid, udp_capsule(b"ping"))
            return None, "%s -> %r" % (describe(st), c.udp_recv(sid))

        @check(args, "h2-udp-early-data")
        def _():  # capsules sent before the 200; RFC 9298 lets a proxy drop or buffer them
            c = new()
            sid = c.connect_udp(authority, T.host, T.udp_port)
            c.send(sid, udp_capsule(b"early"))
            return None, "capsule sent before the 200 -> %r" % c.udp_recv(sid)

        @check(args, "h2-udp-hostname")
        def _():
            c = new()
            sid = c.connect_udp(authority, "localhost", T.udp_port)
            st = c.response(sid)
            c.send(sid, udp_capsule(b"ping"))
            return None, "%s -> %r" % (describe(st), c.udp_recv(sid))

        @check(args, "h2-udp-empty-payload")
        def _():
            c, sid, st = utunnel()
            c.send(sid, udp_capsule(b""))
            return c.udp_recv(sid) == b"", ""

        @check(args, "h2-udp-split-capsule")
        def _():  # one byte per DATA frame
            c, sid, st = utunnel()
            c.send(sid, udp_capsule(b"split me"), pieces=1)
            return c.udp_recv(sid) == b"split me", ""

        @check(args, "h2-udp-batched-capsules")
        def _():  # 20 capsules in one DATA frame
            c, sid, st = utunnel()
            want = [b"n%d" % i for i in range(20)]
            c.send(sid, b"".join(udp_capsule(w) for w in want))
            got = [c.udp_recv(sid, 1) for _ in want]
            return got == want, "%d of 20 back in order" % sum(g == w for g, w in zip(got, want))

        @check(args, "h2-udp-unknown-capsule")
        def _():  # unknown capsule types must be skipped (RFC 9297 section 3.2)
            c, sid, st = utunnel()
            c.send(sid, capsule(0x29, b"grease") + udp_capsule(b"after"))
            r = c.udp_recv(sid)
            return r == b"after", "%r %s" % (r, "" if r else show_code(st))

        @check(args, "h2-udp-unknown-context")
        def _():  # context ids other than 0 must be dropped or refused, never forwarded
            c, sid, st = utunnel()
            n = len(T.udp_seen)
            c.send(sid, udp_capsule(b"ctx2", 2) + udp_capsule(b"ctx0"))
            r = c.udp_recv(sid)
            return r == b"ctx0" and len(T.udp_seen) - n == 1, "%r, %d datagram(s) at the target, %s" % (
                r, len(T.udp_seen) - n, show_code(st))

        @check(args, "h2-udp-max-to-target")
        def _():
            best = 0
            note = ""
            for n in (1200, 1400, 1472, 1473, 1490, 1500, 1501, 2000, 4096, 8192, 9000, 16384, 32768, 65507):
                c, sid, st = utunnel()
                k = len(T.udp_seen)
                c.send(sid, udp_capsule(b"p" * n))
                c.wait(lambda: len(T.udp_seen) > k or st.reset is not None or st.ended, 0.8)
                if len(T.udp_seen) > k and T.udp_seen[k][1] == n:
                    best = n
                else:
                    note = note or "; %d: %s" % (n, "truncated to %d" % T.udp_seen[k][1] if len(T.udp_seen) > k else
                                                 "lost, " + show_code(st))
                c.close()
            return best >= 1472, "largest payload that reached the target: %d%s" % (best, note)

        @check(args, "h2-udp-max-from-target")
        def _():
            best, note = 0, ""
            for n in (1200, 1400, 1472, 1473, 1490, 1500, 1501, 2000, 4096, 8192, 9000, 16384, 32768, 65507):
                c, sid, st = utunnel()
                c.send(sid, udp_capsule(b"SIZE %d" % n))
                r = c.udp_recv(sid, 0.8)
                if r is not None and len(r) == n:
                    best = n
                else:
                    note = note or "; %d: %s" % (n, "lost, " + show_code(st) if r is None else "truncated to %d" % len(r))
                c.close()
            return best >= 1472, "largest payload that came back: %d%s" % (best, note)

        @check(args, "h2-udp-burst")
        def _():
            c, sid, st = utunnel()
            n = 500
            k = len(T.udp_seen)
            for i in range(n):
                c.send(sid, udp_capsule(struct.pack("!I", i) + b"b" * 1196))
            got = 0
            while c.udp_recv(sid, 0.7) is not None:
                got += 1
            return None, "%d sent, %d at the target, %d back" % (n, len(T.udp_seen) - k, got)

        @check(args, "h2-udp-client-end-stream")
        def _():
            c, sid, st = utunnel()
            c.send(sid, udp_capsule(b"last"), end=True)
            r = c.udp_recv(sid)
            c.wait(lambda: st.ended or st.reset is not None, 2)
            return None, "END_STREAM after one datagram: reply %r, then %s" % (r, show_code(st))

        @check(args, "h2-udp-port-unreachable")
        def _():  # ICMP port unreachable at the target
            c = new()
            sid = c.connect_udp(authority, T.host, T.closed_port)
            st = c.response(sid)
            c.send(sid, udp_capsule(b"x"))
            c.wait(lambda: st.ended or st.reset is not None, 1.5)
            out = "%s; after one datagram: %s" % (describe(st), show_code(st))
            if not st.ended and st.reset is None:
                c.send(sid, udp_capsule(b"x"))
                c.wait(lambda: st.ended or st.reset is not None, 1.5)
                out += "; after two: " + show_code(st)
            return None, out

        @check(args, "h2-udp-ipv6-target")
        def _():
            try:
                s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
                s.bind(("::1", 0))
            except OSError as e:
                return None, "no IPv6 loopback here: %s" % e
            s.settimeout(2)
            c = new()
            sid = c.connect_udp(authority, "::1", s.getsockname()[1])
            st = c.response(sid)
            c.send(sid, udp_capsule(b"six"))
            try:
                d, p = s.recvfrom(100)
                s.sendto(d, p)
            except OSError:
                return None, "nothing reached [::1]: " + describe(st)
            return None, "%s -> %r" % (describe(st), c.udp_recv(sid))

        @check(args, "h2-udp-bad-name")
        def _():
            c = new()
            t = time.time()
            st = c.response(c.connect_udp(authority, "no-such-host.invalid", 53), args.connect_wait)
            return None, "%s %.1f s" % (describe(st), time.time() - t)

        @check(args, "h2-udp-bad-path")
        def _():
            out = []
            for p in ("/.well-known/masque/udp/%s/0/" % T.host, "/.well-known/masque/udp/%s/99999/" % T.host,
                      "/.well-known/masque/udp/%s/%d" % (T.host, T.udp_port), "/other/%s/%d/" % (T.host, T.udp_port),
                      "/.well-known/masque/udp//53/"):
                c = new()
                st = c.response(c.open([(":method", "CONNECT"), (":protocol", "connect-udp"), (":scheme", "https"),
                                        (":authority", authority), (":path", p), ("capsule-protocol", "?1")]))
                out.append("%s -> %s" % (p, st.status or show_code(st)))
                c.close()
            return None, "; ".join(out)

    @check(args, "h2-ip")
    def _():  # CONNECT-IP, RFC 9484
        c = new()
        st = c.response(c.open([(":method", "CONNECT"), (":protocol", "connect-ip"), (":scheme", "https"),
                                (":authority", authority), (":path", "/.well-known/masque/ip/*/*/"),
                                ("capsule-protocol", "?1")]))
        return None, describe(st)

    if args.connect_tcp:
        @check(args, "h2-connect-tcp")
        def _():  # draft-ietf-httpbis-connect-tcp: capsules both ways, FINAL_DATA for FIN both ways
            c = new()
            sid = c.open([(":method", "CONNECT"), (":protocol", "connect-tcp"), (":scheme", "https"),
                          (":authority", authority), (":path", tcp_path(T)), ("capsule-protocol", "?1")])
            st = c.response(sid)
            if st.status != "200":
                return False, describe(st)
            c.send(sid, tcp_capsule(b"HALF\n12") + capsule(0x29, b"grease") + tcp_capsule(b"345", final=True), pieces=1)
            got, final = bytearray(), []

            def done():
                while not final and (one := pop_capsule(st.data)):
                    got.extend(one[1] if one[0] in (0x2028d7f0, 0x2028d7f1) else b"")
                    final.extend([True] if one[0] == 0x2028d7f1 else [])
                return final
            c.wait(done)
            c.wait(lambda: st.ended or st.reset is not None)
            return bytes(got) == b"after EOF 5" and final and st.ended, "%r, FINAL_DATA %s, %s" % (
                bytes(got), bool(final), show_code(st))

        @check(args, "h2-connect-tcp-truncated")
        def _():  # a stream that ends without FINAL_DATA must not look like a FIN
            T.log.clear()
            c = new()
            sid = c.open([(":method", "CONNECT"), (":protocol", "connect-tcp"), (":scheme", "https"),
                          (":authority", authority), (":path", tcp_path(T)), ("capsule-protocol", "?1")])
            st = c.response(sid)
            c.send(sid, tcp_capsule(b"WATCH\n"))
            c.wait(lambda: st.data)
            c.send(sid, b"", end=True)
            c.wait(lambda: T.log, 3)
            return T.log == ["RST"], "the target saw %s, the client %s" % (T.log, show_code(st))

    if args.draft03:
        @check(args, "h2-draft03-udp")
        def _():  # :method CONNECT-UDP, :scheme masque, :path /, :authority target
            c = new()
            sid = c.open([(":method", "CONNECT-UDP"), (":scheme", "masque"), (":authority", hostport(T.host, T.udp_port)),
                          (":path", "/")])
            st = c.response(sid)
            if st.status != "200":
                return False, describe(st)
            c.send(sid, draft03_chunk(b"d03"))
            r = c.udp_recv(sid, draft03=True)
            return r == b"d03", "%s -> %r (no context id on the wire)" % (describe(st), r)

    @check(args, "h2-ping")
    def _():
        c = new()
        c.c.ping(b"12345678")
        c.flush()
        return c.wait(lambda: c.pongs), ""

    if args.auth:
        @check(args, "h2-auth-missing-407")
        def _():
            good, out = True, []
            c = new()
            kinds = [lambda: c.connect_tcp(T.host, T.tcp_port)]
            if c.response(c.connect_udp(authority, T.host, T.udp_port)).status == "200":
                kinds.append(lambda: c.connect_udp(authority, T.host, T.udp_port))
            for label, a in (("none", None), ("wrong", "Basic d3Jvbmc6d3Jvbmc=")):
                for f in kinds:
                    c = H2(addr, a)
                    st = c.response(f())
                    good &= st.status == "407"
                    out.append("%s: %s%s" % (label, describe(st), " GOAWAY %r" % c.goaway if c.goaway else ""))
            return good, " | ".join(out)


# ------------------------------------------------------------------ HTTP/1.1 checks


class H1:
    def __init__(self, addr, request, more=b""):
        self.s = tls_connect(addr, ["http/1.1"])
        self.s.sendall(request.encode() + more)
        self.buf = bytearray()
        self.s.settimeout(5)
        self.next_head()

    def next_head(self):
        while b"\r\n\r\n" not in self.buf:
            d = self.s.recv(65536)
            if not d:
                break
            self.buf += d
        head, _, rest = bytes(self.buf).partition(b"\r\n\r\n")
        self.head, self.buf = head.decode("latin1").split("\r\n"), bytearray(rest)

    def recv(self, n):
        while len(self.buf) < n:
            d = self.s.recv(65536)
            if not d:
                break
            self.buf += d
        return bytes(self.buf)

    def to_end(self):  # all bytes, and how they end
        try:
            while d := self.s.recv(65536):
                self.buf += d
        except ssl.SSLEOFError:
            return bytes(self.buf), "truncated"
        except OSError as e:
            return bytes(self.buf), type(e).__name__
        return bytes(self.buf), "close_notify"

    def udp_recv(self, timeout=2, draft03=False):
        self.s.settimeout(timeout)
        while True:
            p = pop_udp(self.buf, draft03)
            if p is not None:
                return p
            try:
                d = self.s.recv(65536)
            except OSError:
                return None
            if not d:
                return None
            self.buf += d


def h1_checks(args, addr, authority, T):
    auth = "Proxy-Authorization: %s\r\n" % args.auth if args.auth else ""
    hp = hostport(T.host, T.tcp_port)
    connect = "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (hp, hp, auth)

    @check(args, "h1-tcp-echo")
    def _():
        c = H1(addr, connect)
        if " 200" not in c.head[0]:
            return False, " | ".join(c.head)
        c.s.sendall(b"ECHO\nhello")
        return c.recv(5) == b"hello", " | ".join(c.head)

    @check(args, "h1-tcp-early-data")
    def _():  # bytes right behind the head must not be lost
        c = H1(addr, connect, b"ECHO\nearly")
        return c.recv(5) == b"early", " | ".join(c.head)

    @check(args, "h1-tcp-target-close")
    def _():
        c = H1(addr, connect)
        c.s.sendall(b"CLOSE\n")
        got, end = c.to_end()
        return got == b"bye" and end == "close_notify", "got %r, then %s" % (got, end)

    @check(args, "h1-tcp-close-under-load")
    def _():
        c = H1(addr, connect)
        c.s.sendall(b"BLAST 3000000\n")
        time.sleep(1)
        got, end = c.to_end()
        return len(got) == 3000000, "%d of 3000000 bytes, then %s" % (len(got), end)

    @check(args, "h1-tcp-target-reset")
    def _():
        c = H1(addr, connect)
        c.s.sendall(b"RST\n")
        return None, "target sent RST -> got %r, then %s" % c.to_end()

    @check(args, "h1-tcp-refused")
    def _():
        hp = hostport(T.host, T.closed_port)
        c = H1(addr, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (hp, hp, auth))
        return " 200" not in c.head[0], " | ".join(c.head)

    @check(args, "h1-keep-alive")
    def _():  # a refused request leaves the connection to the next one
        get = "GET /nothing/here HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (authority, auth)
        c = H1(addr, get)
        first = c.head
        if any(h.lower() == "connection: close" for h in first):
            return None, " | ".join(first)
        c.s.sendall(connect.encode())
        c.next_head()
        return " 200" in c.head[0], "%s, then %s" % (first[0], c.head[0])

    if args.udp_over_h1:
        @check(args, "h1-udp-echo")
        def _():
            c = H1(addr, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\n"
                   "Capsule-Protocol: ?1\r\n%s\r\n" % (masque_path(T.host, T.udp_port), authority, auth))
            if " 101" not in c.head[0]:
                return False, " | ".join(c.head)
            c.s.sendall(udp_capsule(b"ping"))
            r = c.udp_recv()
            return r == b"ping", "%s -> %r" % (" | ".join(c.head), r)

    if args.draft03:
        @check(args, "h1-draft03-udp")
        def _():
            hp = hostport(T.host, T.udp_port)
            c = H1(addr, "CONNECT-UDP masque://%s/ HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (hp, hp, auth))
            if " 200" not in c.head[0]:
                return False, " | ".join(c.head)
            c.s.sendall(draft03_chunk(b"d03"))
            r = c.udp_recv(draft03=True)
            return r == b"d03", "%s -> %r" % (" | ".join(c.head), r)


# ------------------------------------------------------------------ the end


def drain_check(args, addr, T):
    @check(args, "h2-drain")
    def _():  # SIGTERM: GOAWAY, no new connections, but the open tunnel goes on to its own end
        c = H2(addr, args.auth)
        sid = c.connect_tcp(T.host, T.tcp_port)
        st = c.response(sid)
        os.kill(args.drain_pid, signal.SIGTERM)
        announced = c.wait(lambda: c.goaway, 5)
        c.send(sid, b"ECHO\nstill here")
        alive = c.wait(lambda: bytes(st.data) == b"still here", 5)
        try:
            H2(addr, args.auth).close()
            turned_away = False
        except OSError:
            turned_away = True
        c.send(sid, b"", end=True)
        c.wait(lambda: st.ended or st.reset is not None, 5)
        c.wait(lambda: c.closed, 5)
        return announced and alive and turned_away and st.ended, (
            "GOAWAY %r; tunnel alive: %s, then %s; new connections turned away: %s; connection: %s" % (
                c.goaway, alive, show_code(st), turned_away, c.closed))


# ------------------------------------------------------------------ main


def main():
    ap = argparse.ArgumentParser(description="check what an HTTP tunnel proxy speaks")
    ap.add_argument("url")
    ap.add_argument("--draft03", action="store_true", help="also the old CONNECT-UDP method (draft-03)")
    ap.add_argument("--connect-tcp", action="store_true", help="also connect-tcp (draft)")
    ap.add_argument("--udp-over-h1", action="store_true", help="also connect-udp by HTTP/1.1's Upgrade")
    ap.add_argument("--drain-pid", type=int, help="the proxy's process, which gets SIGTERM as the last check")
    ap.add_argument("--auth", help="value of Proxy-Authorization")
    ap.add_argument("--target-host", default="127.0.0.1")
    ap.add_argument("--connect-wait", type=float, default=10, help="seconds to wait for a name")
    ap.add_argument("--bulk", type=int, default=4 << 20)
    ap.add_argument("--streams", type=int, default=100)
    ap.add_argument("--only", action="append", help="run only checks whose name starts so; may repeat")
    ap.add_argument("--skip", action="append", help="leave out checks whose name starts so; may repeat")
    ap.add_argument("-v", "--verbose", action="store_true")
    args = ap.parse_args()
    u = urlparse(args.url)
    addr = (u.hostname, u.port or 443)
    T = Targets(args.target_host)
    h2_checks(args, addr, hostport(*addr), T)
    h1_checks(args, addr, hostport(*addr), T)
    if args.drain_pid:
        drain_check(args, addr, T)
    n = {k: results.count(k) for k in ("PASS", "FAIL", "INFO")}
    print("---- %d PASS, %d FAIL, %d INFO" % (n["PASS"], n["FAIL"], n["INFO"]))
    sys.stdout.flush()
    os._exit(1 if n["FAIL"] else 0)  # targets' threads are not waited for


if __name__ == "__main__":
    main()
