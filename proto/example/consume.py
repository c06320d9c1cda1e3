#!/usr/bin/env python3
"""Consume the mail log with nothing but Python's standard library.

NATS is a text protocol on a TCP socket. This opens a durable consumer on one shard, takes messages, prints what is
in each of their mails, and acknowledges a message only after all of them have been dealt with.

    consume.py nats://127.0.0.1:4222 MY_CONSUMER [SHARD [COUNT]]
"""
import base64, hashlib, json, secrets, socket, sys
from urllib.parse import urlsplit


class Nats:
    def __init__(self, url):
        u = urlsplit(url)
        self.sock = socket.create_connection((u.hostname, u.port or 4222), timeout=30)
        self.rx = self.sock.makefile("rb")
        self.rx.readline()  # INFO {...}
        options = {"verbose": False, "headers": True, "no_responders": True, "name": "consume.py", "lang": "python", "version": "0"}
        if u.password:
            options.update(user=u.username, **{"pass": u.password})
        elif u.username:
            options["auth_token"] = u.username
        self.inbox = "_INBOX." + secrets.token_hex(11)
        self.send(f"CONNECT {json.dumps(options)}\r\nSUB {self.inbox} 1\r\n".encode())

    def send(self, data):
        self.sock.sendall(data)

    def publish(self, subject, payload, answer_here=False):
        reply = " " + self.inbox if answer_here else ""
        self.send(f"PUB {subject}{reply} {len(payload)}\r\n".encode() + payload + b"\r\n")

    def next(self):
        """The next message: its reply subject, status, headers and payload."""
        while True:
            word, *args = self.rx.readline().decode().split()
            if word == "PING":
                self.send(b"PONG\r\n")
            elif word == "-ERR":
                raise OSError(" ".join(args))
            elif word in ("MSG", "HMSG"):  # MSG subject sid [reply] [header bytes] total bytes
                n = 2 if word == "HMSG" else 1
                reply, sizes = (args[2] if len(args) == 3 + n else ""), [int(a) for a in args[-n:]]
                block = self.rx.read(sizes[-1] + 2)[:-2]
                head, payload = (block[: sizes[0]], block[sizes[0]:]) if n == 2 else (b"", block)
                lines = head.decode().split("\r\n")
                return reply, lines[0][9:], dict(l.split(":", 1) for l in lines[1:] if ":" in l), payload

    def request(self, subject, body):
        self.publish(subject, json.dumps(body).encode(), answer_here=True)
        return self.next()


def fields(message):
    """The fields of a protobuf message as {number: [values]}; enough to read an envelope without its schema."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            value = varint()
        else:  # mail.v1 has varints and length-delimited fields only
            size = varint()
            value, at = message[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def whole(nats, stream, reply, parts):
    """The raw bytes of a large mail: the parts are the messages just before its head."""
    tokens = reply.split(".")  # $JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.…; newer servers add two tokens in front
    head = int(tokens[5] if len(tokens) == 9 else tokens[7])
    return b"".join(nats.request(f"$JS.API.DIRECT.GET.{stream}", {"seq": s})[3] for s in range(head - parts, head))


def mails(nats, stream, reply, headers, payload):
    """The mails of a message as (envelope, raw bytes): one, or several, whose bytes follow each other in the payload."""
    texts = [headers["Mail-Envelope"].strip()]
    texts += [t for t in headers.get("Mail-Envelopes", "").strip().split(",") if t]
    envelopes = [fields(base64.urlsafe_b64decode(t + "=" * (-len(t) % 4))) for t in texts]
    if any(e.get(17, [0])[-1] & ~3 for e in envelopes):  # 1: mail in parts, 2: several mails in a message
        raise SystemExit("this mail requires something this program does not know: update it")
    at, found = 0, []
    for e in envelopes:
        size, parts = e.get(13, [0])[-1], e.get(16, [0])[-1]
        if parts:
            raw = whole(nats, stream, reply, parts)
        else:
            raw, at = payload[at : at + size], at + size
        if len(raw) != size or hashlib.sha256(raw).digest() != e[14][-1]:
            raise SystemExit("the mail is damaged")
        found.append((e, raw))
    if at != len(payload):
        raise SystemExit("the message has bytes that belong to no mail")
    return found


def main(url, consumer, shard="0", count="10"):
    nats, stream = Nats(url), f"MAIL_{shard}"
    made = json.loads(nats.request(f"$JS.API.CONSUMER.CREATE.{stream}.{consumer}.mail.in.{shard}", {"stream_name": stream, "config": {
        "durable_name": consumer, "filter_subject": f"mail.in.{shard}", "deliver_policy": "all", "ack_policy": "explicit", "ack_wait": 60_000_000_000}})[3])
    if "error" in made:
        raise SystemExit(made["error"]["description"])
    for _ in range(int(count)):
        reply, status, headers, payload = nats.request(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", {"batch": 1, "expires": 5_000_000_000})
        if status:  # 408: no mail within the five seconds
            break
        for envelope, raw in mails(nats, stream, reply, headers, payload):
            print(json.dumps({
                "id": envelope[1][-1].hex(), "from": envelope.get(9, [b""])[-1].decode(), "size": len(raw),
                "parts": envelope.get(16, [0])[-1], "to": [fields(r)[1][-1].decode() for r in envelope[10]],
                "raw": base64.b64encode(raw).decode()}), flush=True)
        nats.publish(reply, b"+ACK")  # only now: what is not acknowledged comes again
    nats.send(b"PING\r\n")  # its answer says that the last acknowledgement has arrived
    nats.rx.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
