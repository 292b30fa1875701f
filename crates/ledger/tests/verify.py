#!/usr/bin/env python3
"""Verifies exported ledgers: written from docs/ledger.md alone, with the standard library alone.

    verify.py CLUSTER_PUBLIC_KEY FILE...

CLUSTER_PUBLIC_KEY is `P` and base64. One line is printed for each file, `ok N HASH` (entries and head)
or `refused N REASON` (N: number of the first entry refused). Exit status 1 if any was refused.

Left out, as section 7 of the document allows: the syntax of hba rules and the guard of the way in.
"""

import base64
import functools
import hashlib
import ipaddress
import re
import sys
import unicodedata


class Refused(Exception):
    pass


def need(condition, reason):
    if not condition:
        raise Refused(reason)


# Ed25519 (RFC 8032, section 5.1), extended coordinates.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
IDENTITY = (0, 1, 1, 0)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(n, p):
    q = IDENTITY
    while n:
        if n & 1:
            q = add(q, p)
        p = add(p, p)
        n >>= 1
    return q


def decompress(text):
    y = int.from_bytes(text, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def compress(p):
    inverse = pow(p[2], P - 2, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


@functools.lru_cache(maxsize=None)  # files share entries; arithmetic in Python is slow
def signature_holds(key, message, signature):
    a, r, s = decompress(key), signature[:32], int.from_bytes(signature[32:], "little")
    if a is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L
    minus_a = (P - a[0], a[1], 1, P - a[3])
    return compress(add(multiply(s, BASE), multiply(k, minus_a))) == r


SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
]


SMALL_ORDER_U = SMALL_ORDER[:3] + [
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
]


# Deterministic CBOR (RFC 8949, section 4.2.1).


class Tagged:
    def __init__(self, tag, value):
        self.tag, self.value = tag, value


def read(data, at, depth=0):
    """The item at this offset, and the offset behind it."""
    need(at < len(data) and depth < 16, "cut off or nested too deep")
    major, info, at = data[at] >> 5, data[at] & 31, at + 1
    if major == 7:
        need(info in (20, 21, 22), "a simple value that is not false, true or null")
        return {20: False, 21: True, 22: None}[info], at
    value = info
    if info > 23:
        need(info < 28, "an indefinite length")
        size = 1 << info - 24
        need(at + size <= len(data), "cut off")
        value, at = int.from_bytes(data[at : at + size], "big"), at + size
        need(value >= (24 if size == 1 else 1 << 4 * size), "a long integer")
    if major == 0:
        return value, at
    need(major != 1, "a negative number")
    if major in (2, 3):
        need(at + value <= len(data), "cut off")
        text, at = bytes(data[at : at + value]), at + value
        if major == 2:
            return text, at
        try:
            return text.decode("utf-8"), at
        except UnicodeDecodeError:
            raise Refused("text that is not UTF-8") from None
    if major == 4:
        items = []
        need(value <= len(data), "cut off")
        for _ in range(value):
            item, at = read(data, at, depth + 1)
            items.append(item)
        return items, at
    if major == 5:
        items, last = {}, None
        need(value <= len(data), "cut off")
        for _ in range(value):
            start = at
            key, at = read(data, at, depth + 1)
            need(type(key) is int, "a map key that is no number")
            need(last is None or last < data[start:at], "map keys out of order")
            last = data[start:at]
            items[key], at = read(data, at, depth + 1)
        return items, at
    value_of_tag, at = read(data, at, depth + 1)
    return Tagged(value, value_of_tag), at


def head(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    width, info = next((w, i) for w, i in ((1, 24), (2, 25), (4, 26), (8, 27)) if value < 256**w)
    return bytes([major << 5 | info]) + value.to_bytes(width, "big")


def byte_string(data):
    return head(2, len(data)) + data


def write(item):
    """The bytes of an item that was read: there is one encoding."""
    if type(item) is int:
        return head(0, item)
    if type(item) is bytes:
        return byte_string(item)
    if type(item) is str:
        return head(3, len(item.encode())) + item.encode()
    if type(item) is list:
        return head(4, len(item)) + b"".join(map(write, item))
    if type(item) is dict:
        pairs = (write(key) + write(value) for key, value in item.items())
        return head(5, len(item)) + b"".join(pairs)
    return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[item]


# The types of section 1. `type(x) is` because a bool is an int to Python.


def unsigned(value, most):
    need(type(value) is int and 0 <= value <= most, "not a number in its bounds")
    return value


def text_of(value):
    need(type(value) is str, "not a text")
    return value


def boolean(value):
    need(type(value) is bool, "not true or false")
    return value


def octets(value, size=None):
    need(type(value) is bytes and size in (None, len(value)), "not bytes of the right length")
    return value


def array(value, least, most):
    need(type(value) is list and least <= len(value) <= most, "not an array of the right length")
    need(not value or len(value) == least or value[-1] is not None, "null at the end of an array")
    return value + [None] * (most - len(value))


def mapping(value, needed, optional=()):
    need(type(value) is dict, "not a map")
    need(set(needed) <= set(value) <= set(needed) | set(optional), "unknown or missing keys")
    return value


def uid_of(value):
    need(unsigned(value, 2**32 - 1) > 0, "uid 0")
    return value


def flags_of(value):
    return unsigned(value, 32767)


def key_of(value):
    y = bytearray(octets(value, 32))
    y[31] &= 0x7F
    need(int.from_bytes(y, "little") < P and y.hex() not in SMALL_ORDER, "a weak key")
    return value


def plain(text):
    need(not any(unicodedata.category(c) == "Cc" for c in text), "a control character")
    return text


UNSEEN = [(0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5)]
UNSEEN += [(0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F)]
UNSEEN += [(0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)]
UNSEEN += [(0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x13430, 0x13440), (0x16FE4, 0x16FE4)]
UNSEEN += [(0x1BCA0, 0x1BCA3), (0x1D159, 0x1D159), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)]


def name_of(value):
    need(1 <= len(text_of(value).encode()) <= 63, "a name's length")
    for c in plain(value):
        need(not c.isspace() and c not in "\"'`\\,#", "a character in a name")
        need(not any(low <= ord(c) <= high for low, high in UNSEEN), "an invisible character")
    need(value[0] not in "+@/" and value != ">[HAL_9000]<", "a reserved name")
    folded = value.lower()
    need(not folded.startswith(("pg_", "palisade")), "a reserved name")
    need(folded not in ("public", "none", "all", "replication"), "a reserved name")
    return value


def base64_of(text, sizes):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused("not base64") from None
    need(base64.b64encode(data).decode() == text and len(data) in sizes, "not canonical base64")


def verifier_of(value):
    parts = text_of(value).split("$")
    need(len(parts) == 3 and parts[0] == "SCRAM-SHA-256", "not a verifier")
    head, keys = parts[1].split(":"), parts[2].split(":")
    need(len(head) == 2 and len(keys) == 2, "not a verifier")
    need(head[0].isascii() and head[0].isdigit() and len(head[0]) < 8, "not a verifier")
    need(str(int(head[0])) == head[0] and 4096 <= int(head[0]) <= 1000000, "iterations")
    base64_of(head[1], range(12, 65))
    for key in keys:
        base64_of(key, [32])
    return value


def object_of(value):
    need(type(value) is list and len(value) in (1, 2), "not an object")
    for part in value:
        need(1 <= len(text_of(part).encode()) <= 63 and "\0" not in part, "not an identifier")
    schema = value[0]
    need(schema not in ("palisade", "information_schema"), "a system schema")
    need(not schema.startswith("pg_"), "a system schema")
    return tuple(value)


def optional(value, check):
    return None if value is None else check(value)


def user_of(value, imported):
    value = mapping(value, range(6), ()) if imported else mapping(value, range(5), (5, 6))
    for key in (5, 6):
        need(key not in value or value[key] is not None, "null in a map")
    return {
        "uid": uid_of(value[0]),
        "name": name_of(value[1]),
        "disabled": boolean(value[2]),
        "superuser": boolean(value[3]),
        "flags": flags_of(value[4]),
        "key": optional(value.get(5), key_of),
        "password": optional(value.get(6), verifier_of),
    }


def seal_of(value):
    y = int.from_bytes(octets(value, 32), "little")
    need(y < P and value.hex() not in SMALL_ORDER_U, "a weak key")
    return value


def node_id_of(value):
    need(unsigned(value, 2**32 - 1) > 0, "node 0")
    return value


def host_of(value):
    text = text_of(value)
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        need(1 <= len(text.encode()) <= 253, "a host's length")
        labels = text.split(".")
        need(all(re.fullmatch("[a-z0-9-]{1,63}", label) for label in labels), "not a host")
        need(not any(label[0] == "-" or label[-1] == "-" for label in labels), "not a host")
        need(not re.fullmatch("[0-9]+", labels[-1]), "not a host")
        return text
    need("%" not in text and str(ip) == text, "another form of an address")
    need(not ip.is_unspecified and not ip.is_multicast, "nobody's address")
    if ip.version == 4:
        need(text != "255.255.255.255", "nobody's address")
    else:
        need(int(ip) == 1 or int(ip) >> 32 not in (0, 0xFFFF), "an IPv4 address as IPv6")
    return text


def address_of(value):
    """Host and port."""
    host, colon, port = text_of(value).rpartition(":")
    need(colon and re.fullmatch("[1-9][0-9]{0,4}", port) and int(port) < 65536, "not a port")
    inner = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    need((":" in inner) == (inner != host), "brackets that are missing or too many")
    return host_of(inner), int(port)


def is_loopback(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def list_of(value, check):
    need(type(value) is list, "not an array")
    return [check(item) for item in value]


def store_address_of(value):
    peer, client = array(value, 2, 2)
    return address_of(peer), address_of(client)


def no_null(value, key):
    need(key not in value or value[key] is not None, "null in a map")
    return value.get(key)


def node_of(value):
    mapping(value, range(5), (5,))
    return {
        "id": node_id_of(value[0]),
        "key": key_of(value[1]),
        "seal": seal_of(value[2]),
        "address": address_of(value[3]),
        "hosts": list_of(value[4], text_of),
        "store": optional(no_null(value, 5), store_address_of),
        "bytes": write(value),
    }


def proof_of(value):
    number, fields = array(value, 2, 2)
    if unsigned(number, 1) == 0:
        return octets(array(fields, 1, 1)[0], 8)
    array(fields, 0, 0)
    return None


def token_of(value):
    mapping(value, range(5))
    return {
        "id": octets(value[0], 8),
        "key": key_of(value[1]),
        "expires": unsigned(value[2], 2**64 - 1),
        "approval": boolean(value[3]),
        "note": text_of(value[4]),
        "used": False,
        "revoked": False,
    }


def store_of(value):
    number, fields = array(value, 2, 2)
    if unsigned(number, 2) < 2:
        array(fields, 0, 0)
        return None
    return list_of(array(fields, 1, 1)[0], text_of)


def issued_of(value):
    mapping(value, (0, 1, 2, 4, 5), (3, 6))
    return {
        "serial": octets(value[0]),
        "subject": text_of(value[1]),
        "kind": unsigned(value[2], 5),
        "holder": optional(no_null(value, 3), node_id_of),
        "issuer": octets(value[4], 32),
        "until": unsigned(value[5], 2**64 - 1),
        "by": optional(no_null(value, 6), uid_of),
    }


def target_of(value):
    number, fields = array(value, 2, 2)
    if unsigned(number, 2) != 1:
        return number, text_of(array(fields, 1, 1)[0])
    server, sender, recipients, user = array(fields, 3, 4)
    address_of(server)
    recipients = list_of(recipients, text_of)
    return number, text_of(sender), recipients, optional(user, text_of)


def alert_of(value):
    mapping(value, range(3))
    need(type(value[2]) is dict, "not a map")
    sealed = {node_id_of(id): octets(secret) for id, secret in value[2].items()}
    return {"name": text_of(value[0]), "target": target_of(value[1]), "sealed": sealed}


def hosts_of(value):
    return list_of(value, text_of)


def setting_of(value):
    number, fields = array(value, 2, 2)
    need(unsigned(number, 1) in (0, 1), "no such setting")
    return number, unsigned(array(fields, 1, 1)[0], 65535)


#: For each number: least and most fields, and what each is.
CHANGES = {
    0: (3, 3, [text_of, text_of, key_of]),
    1: (1, 1, [lambda value: user_of(value, False)]),
    2: (1, 3, [uid_of, lambda v: optional(v, boolean), lambda v: optional(v, flags_of)]),
    3: (2, 2, [uid_of, boolean]),
    4: (1, 1, [uid_of]),
    5: (2, 2, [uid_of, key_of]),
    6: (1, 2, [uid_of, lambda value: optional(value, verifier_of)]),
    7: (3, 3, [object_of, uid_of, flags_of]),
    8: (2, 2, [object_of, uid_of]),
    9: (1, 1, [text_of]),
    10: (1, 1, [setting_of]),
    11: (1, 1, [octets]),
    12: (1, 1, [lambda value: octets(value, 32)]),
    13: (2, 2, [octets, text_of]),
    14: (1, 1, [lambda value: user_of(value, True)]),
    15: (1, 1, [node_of]),
    16: (3, 3, [node_of, proof_of, lambda value: octets(value, 64)]),
    17: (1, 1, [node_id_of]),
    18: (1, 1, [node_id_of]),
    19: (4, 4, [node_id_of, key_of, seal_of, lambda value: octets(value, 64)]),
    20: (
        1,
        4,
        [
            node_id_of,
            lambda value: optional(value, address_of),
            lambda value: optional(value, hosts_of),
            lambda value: optional(value, store_address_of),
        ],
    ),
    21: (1, 1, [token_of]),
    22: (1, 1, [lambda value: octets(value, 8)]),
    23: (0, 1, [lambda value: optional(value, key_of)]),
    24: (1, 1, [store_of]),
    25: (1, 1, [issued_of]),
    26: (1, 1, [alert_of]),
    27: (1, 1, [text_of]),
    28: (1, 1, [lambda value: octets(value, 32)]),
}

PROTECTED = bytes.fromhex("a10127")
DENIED, USER_MANAGE, SYSTEM, SET_ACL, NOT_ON_OBJECTS = 1, 1024, 2048, 4096, 1024 | 2048 | 16384


def sha256(data):
    return hashlib.sha256(data).digest()


def past(end, time):
    """Expired more than a day before this entry."""
    return end + 24 * 60 * 60 * 1000 < time


def names_of(node):
    return [node["address"][0], *node["hosts"]]


def all_names_of(node):
    return names_of(node) + [host for host, _ in node["store"] or ()]


def hosts(texts):
    need(len(texts) <= 16 and len(set(texts)) == len(texts), "the list of hosts")
    for text in texts:
        host_of(text)


def word(text):
    need(re.fullmatch("[a-z0-9_-]{1,63}", text), "a name")


def mail(text):
    need(1 <= len(text) <= 254 and all("!" <= c <= "~" for c in text), "a mail address")
    need(not set(text) & set('<>"\\,'), "a mail address")
    local, at, host = text.partition("@")
    need(local and at and host, "a mail address")


def url(text):
    need(1 <= len(text.encode()) <= 2048 and all("!" <= c <= "~" for c in text), "a URL")
    scheme, colon, rest = text.partition("://")
    need(colon and scheme in ("https", "http"), "a URL's scheme")
    authority = re.split("[/?#]", rest)[0]
    need("@" not in authority and "\\" not in authority, "a URL with a user's name")
    port = re.search(r":[1-9][0-9]{0,4}$", re.sub(r"\[.*\]", "", authority))
    if port is not None:
        need(int(port[0][1:]) < 65536, "a port")
        authority = authority[: -len(port[0])]
    inner = authority[1:-1] if authority[:1] == "[" and authority[-1:] == "]" else authority
    need((":" in inner) == (inner != authority), "brackets that are missing or too many")
    try:
        need("%" not in inner, "not a host")
        host = str(ipaddress.ip_address(inner))
    except ValueError:
        host = inner.lower()
    host_of(host)
    need(scheme == "https" or is_loopback(host), "a URL without TLS")


def check_target(target):
    number, *rest = target
    if number == 0:
        url(rest[0])
    elif number == 2:
        word(rest[0])
    else:
        sender, recipients, user = rest
        mail(sender)
        need(1 <= len(recipients) <= 16 and len(set(recipients)) == len(recipients), "recipients")
        for recipient in recipients:
            mail(recipient)
        need(user is None or 1 <= len(plain(user).encode()) <= 256, "a user's name")


class Entry:
    def __init__(self, item):
        need(type(item) is Tagged and item.tag == 18, "not a COSE_Sign1")
        protected, unprotected, payload, self.signature = array(item.value, 4, 4)
        need(protected == PROTECTED and unprotected == {}, "other headers")
        octets(self.signature, 64)
        content, end = read(octets(payload), 0)
        need(end == len(payload), "bytes behind the payload")
        mapping(content, range(1, 6))
        self.signed = b"\x84\x6aSignature1" + byte_string(PROTECTED)
        self.signed += byte_string(b"palisade ledger v1") + byte_string(payload)
        self.seq = unsigned(content[1], 2**64 - 1)
        self.prev = octets(content[2], 32)
        self.time = unsigned(content[3], 253402300799999)
        kind, fields = array(content[4], 2, 2)
        self.author = self.node = None
        if unsigned(kind, 2) == 0:
            array(fields, 0, 0)
        elif kind == 1:
            self.author = uid_of(array(fields, 1, 1)[0])
        else:
            self.node = node_id_of(array(fields, 1, 1)[0])
        self.cluster = kind == 0
        self.number, fields = array(content[5], 2, 2)
        need(type(self.number) is int and self.number in CHANGES, "an unknown change")
        least, most, checks = CHANGES[self.number]
        self.fields = [check(v) for check, v in zip(checks, array(fields, least, most))]


class State:
    def __init__(self, entry, digest, expected):
        need(entry.number == 0 and entry.seq == 0 and entry.cluster, "not a genesis")
        need(entry.prev == bytes(32), "a genesis with an entry before it")
        cluster, database, key = entry.fields
        need(key == expected and signature_holds(key, entry.signed, entry.signature), "signature")
        need(1 <= len(plain(cluster).encode()) <= 256, "the cluster's name")
        need(1 <= len(plain(database).encode()) <= 63, "the database's name")
        self.key, self.seq, self.hash, self.time = key, 0, digest, entry.time
        self.users, self.gone, self.imported = {}, set(), {}
        self.acls, self.cas, self.removed_cas, self.revoked = {}, [], set(), set()
        self.nodes, self.last_node, self.tokens, self.secret = {}, 0, {}, None
        self.issued, self.alerts, self.active = {}, {}, None

    def add(self, entry, digest):
        need(entry.seq == self.seq + 1, "not the next entry")
        need(entry.prev == self.hash, "it continues another chain")
        cluster = entry.cluster
        need(cluster or entry.time >= self.time, "its time lies before the ledger's")
        author, key = None, self.key
        if entry.author is not None:
            author = self.users.get(entry.author)
            need(author is not None, "its author is no user")
            need(author["key"] is not None, "its author has no key")
            key = author["key"]
        elif entry.node is not None:
            author = self.nodes.get(entry.node)
            if author is None:
                need(entry.number == 16, "its author is no node")
                author = entry.fields[0]
                need(author["id"] == entry.node, "its author is no node")
            key = author["key"]
        need(signature_holds(key, entry.signed, entry.signature), "signature")
        if cluster:
            need(entry.number != 16, "a node that joins signs itself")
        elif entry.node is not None:
            self.authorize_node(author, entry)
        else:
            self.authorize(author, entry)
        self.make_sense(entry)
        before = self.superusers()
        if not cluster and entry.number == 18:
            others = (i for i, node in self.nodes.items() if not node["pending"])
            pending = self.nodes[entry.fields[0]]["pending"]
            need(pending or any(i != entry.fields[0] for i in others), "the last node")
        self.apply(entry)
        if not cluster and entry.number in (2, 3, 4):
            need(not before or self.superusers(), "it would leave no enabled superuser")
        self.seq, self.hash, self.time = entry.seq, digest, self.time_after(entry)

    def time_after(self, entry):
        return self.time if entry.node is not None or entry.number in (5, 6) else entry.time

    def signs(self):
        """The CA that signs leaf certificates; there is one."""
        return next((ca for ca in self.cas if sha256(ca) == self.active), self.cas[0])

    def superusers(self):
        return sum(user["superuser"] and not user["disabled"] for user in self.users.values())

    def authorize(self, author, entry):
        superuser, flags = author["superuser"], author["flags"]
        shut_out = author["disabled"] or (flags & DENIED and not superuser)
        need(not shut_out, "its author is shut out")
        number, fields = entry.number, entry.fields

        def needs(flag, held=flags):
            need(superuser or held & flag, "its author lacks a privilege")

        def within(is_superuser, given):
            need(superuser or not is_superuser, "only a superuser manages superusers")
            need(superuser or not given & ~(flags | DENIED), "more than its author holds")

        need(number not in (0, 14), "only the cluster key may")
        need(number not in (16, 19), "only that node may")
        if number in (1, 2, 3, 4):
            needs(USER_MANAGE)
            if number == 1:
                within(fields[0]["superuser"], fields[0]["flags"])
            else:
                target = self.users.get(fields[0])
                if target is not None:
                    within(target["superuser"], target["flags"])
            if number == 2:
                within(fields[1] or False, fields[2] or 0)
        elif number in (5, 6):
            need(fields[0] == author["uid"], "only that user may")
        elif number in (7, 8):
            held = self.acls.get((fields[0], author["uid"]), flags)
            needs(SET_ACL, 0 if held & DENIED else held)
        else:
            needs(SYSTEM)

    def authorize_node(self, author, entry):
        number, fields = entry.number, entry.fields
        if number == 16 and fields[0]["id"] == entry.node:
            return
        need(not author["pending"], "its author waits for approval")
        need(number in (19, 20, 25), "a node may not")
        if number in (19, 20):
            need(fields[0] == entry.node, "only that node may")
        if number == 25:
            named = (fields[0]["holder"], fields[0]["by"])
            need(named != (None, None), "a certificate of nobody's")
        if number == 20:
            _, address, hosts, store = fields
            for host in (hosts or []) + [host for host, _ in [address or ("", 0), *(store or ())]]:
                need(host in ["", *names_of(author)], "a name that it did not have")

    def make_sense_of_nodes(self, entry):
        number, fields = entry.number, entry.fields
        if number == 15:
            self.new_node(fields[0])
        elif number == 16:
            node, token, signature = fields
            if token is None:
                key = self.secret
                need(key is not None, "there is no cluster secret")
            else:
                key = self.usable(token)["key"]
                need(entry.time <= self.tokens[token]["expires"], "an expired token")
            message = write(["palisade join v1", self.key, node["bytes"]])
            need(signature_holds(key, message, signature), "the proof")
            self.new_node(node)
            for host in all_names_of(node):
                taken = any(host in all_names_of(other) for other in self.nodes.values())
                need(is_loopback(host) or not taken, "another node's name")
        elif number in (17, 18, 19, 20):
            need(fields[0] in self.nodes, "no such node")
            if number == 17:
                need(self.nodes[fields[0]]["pending"], "a member already")
            elif number == 19:
                id, key, seal, signature = fields
                self.new_key(key)
                content = write(id) + write(key) + write(seal)
                message = write(["palisade rotate v1", self.key, content])
                need(signature_holds(key, message, signature), "the new key's signature")
            elif number == 20:
                need(fields[1:] != [None, None, None], "nothing would change")
                self.free_address(fields[0], fields[1])
                hosts(fields[2] or [])
        elif number == 21:
            token = fields[0]
            need(token["id"] not in self.tokens, "the token's id is in use")
            longest = entry.time + 366 * 24 * 60 * 60 * 1000
            need(entry.time < token["expires"] <= longest, "a token's end")
            need(len(plain(token["note"]).encode()) <= 256, "a note")
            now = self.time_after(entry)
            valid = [t for t in self.tokens.values() if not past(t["expires"], now)]
            need(len(self.tokens) < 10_000 or len(valid) < len(self.tokens), "too many tokens")
        elif number == 22:
            self.usable(fields[0])
        elif number == 23:
            need(fields[0] != self.secret, "nothing would change")
        elif number == 24 and fields[0] is not None:
            need(1 <= len(fields[0]) <= 16 and len(set(fields[0])) == len(fields[0]), "endpoints")
            for url in fields[0]:
                need(url.startswith("https://"), "an endpoint without TLS")
                address_of(url[8:])
        elif number == 25:
            self.new_certificate(fields[0], entry)
        elif number == 26:
            alert = fields[0]
            word(alert["name"])
            need(alert["name"] not in self.alerts and len(self.alerts) < 64, "the list of alerts")
            check_target(alert["target"])
            for id, secret in alert["sealed"].items():
                need(id in self.nodes and 1 <= len(secret) <= 4096, "a sealed secret")
        elif number == 27:
            need(fields[0] in self.alerts, "no such alert")
        elif number == 28:
            need(fields[0] in map(sha256, self.cas), "no such CA")
            need(fields[0] != self.active, "nothing would change")

    def new_node(self, node):
        need(node["id"] == self.last_node + 1, "not the next node")
        self.new_key(node["key"])
        hosts(node["hosts"])
        self.free_address(node["id"], node["address"])
        need(len(self.nodes) < 10_000, "too many nodes")

    def new_key(self, key):
        everybody = [*self.nodes.values(), *self.users.values()]
        keys = [self.key, *(somebody["key"] for somebody in everybody)]
        need(key not in keys, "somebody's key")

    def free_key(self, uid, key):
        others = [user for user in self.users.values() if user["uid"] != uid]
        keys = [self.key, *(somebody["key"] for somebody in [*self.nodes.values(), *others])]
        need(key is None or key not in keys, "somebody's key")

    def free_address(self, id, address):
        others = (node["address"] for i, node in self.nodes.items() if i != id)
        need(address is None or address not in others, "another node's address")

    def usable(self, id):
        need(id in self.tokens, "no such token")
        token = self.tokens[id]
        need(not token["used"] and not token["revoked"], "a token that was used or revoked")
        return token

    def new_certificate(self, issued, entry):
        serial = issued["serial"]
        need(1 <= len(serial) <= 20 and serial[0] != 0, "a serial number")
        need(serial not in self.issued and serial not in self.revoked, "a serial number in use")
        need(1 <= len(plain(issued["subject"]).encode()) <= 256, "a subject")
        need(issued["kind"] == 5 or issued["issuer"] in map(sha256, self.cas), "no such CA")
        holder, user = issued["holder"], issued["by"]
        need(holder is None or holder in self.nodes, "no such node")
        need(holder is None or not self.nodes[holder]["pending"], "a node that waits")
        need(user is None or user in self.users, "no such user")
        longest = 253402300799999 if issued["kind"] == 5 else entry.time + 398 * 24 * 60 * 60 * 1000
        need(issued["until"] <= min(longest, 253402300799999), "a time")
        held = [i for i in self.issued.values() if holder is not None and i["holder"] == holder]
        good = [i for i in held if i["until"] >= entry.time and not self.worthless(i, entry.time)]
        need(len(good) < 32, "too many certificates of one node")
        if len(self.issued) >= 100_000:
            now = self.time_after(entry)
            need(any(self.worthless(i, now) for i in self.issued.values()), "too many certificates")

    def worthless(self, issued, time):
        gone = issued["kind"] != 5 and issued["issuer"] not in map(sha256, self.cas)
        return gone or issued["serial"] in self.revoked or past(issued["until"], time)

    def forget(self, name, kinds):
        """Revokes the certificates in a user's name."""
        his = (i for i in self.issued.values() if i["subject"].split(",")[0] == name)
        self.revoked.update(i["serial"] for i in his if i["kind"] in kinds)

    def apply_to_nodes(self, entry):
        number, fields = entry.number, entry.fields
        if number in (15, 16):
            self.last_node = fields[0]["id"]
            pending = False
            if number == 16 and fields[1] is not None:
                token = self.tokens[fields[1]]
                token["used"], pending = True, token["approval"]
            self.nodes[self.last_node] = {**fields[0], "pending": pending}
        elif number == 17:
            self.nodes[fields[0]]["pending"] = False
        elif number == 18:
            del self.nodes[fields[0]]
            held = (i["serial"] for i in self.issued.values() if i["holder"] == fields[0])
            self.revoked.update(held)
        elif number == 19:
            self.nodes[fields[0]]["key"] = fields[1]
        elif number == 20:
            given = zip(("address", "hosts", "store"), fields[1:])
            self.nodes[fields[0]].update((k, v) for k, v in given if v is not None)
        elif number == 21:
            if len(self.tokens) >= 10_000:
                tokens = self.tokens.items()
                now = self.time_after(entry)
                self.tokens = {i: t for i, t in tokens if not past(t["expires"], now)}
            self.tokens[fields[0]["id"]] = dict(fields[0])
        elif number == 22:
            self.tokens[fields[0]]["revoked"] = True
        elif number == 23:
            self.secret = fields[0]
        elif number == 25:
            if len(self.issued) >= 100_000:
                all_of_them, now = self.issued.items(), self.time_after(entry)
                self.issued = {s: i for s, i in all_of_them if not self.worthless(i, now)}
            self.issued[fields[0]["serial"]] = fields[0]
        elif number == 26:
            self.alerts[fields[0]["name"]] = fields[0]
        elif number == 27:
            del self.alerts[fields[0]]
        elif number == 28:
            self.active = fields[0]

    def make_sense(self, entry):
        number, fields = entry.number, entry.fields
        if number >= 15:
            self.make_sense_of_nodes(entry)
        if number in (1, 14):
            self.free_key(fields[0]["uid"], fields[0]["key"])
        if number == 5:
            self.free_key(fields[0], fields[1])
        need(number != 0, "a second genesis")
        if number in (1, 14):
            user = fields[0]
            known = self.users.get(user["uid"])
            if known is not None and number == 14:
                need(known["name"] == user["name"], "the uid is another user's")
            else:
                need(known is None and user["uid"] not in self.gone, "the uid was given before")
                names = (other["name"] for other in self.users.values())
                need(user["name"] not in names, "the name is in use")
                need(len(self.users) < 1_000_000, "too many users")
        elif number in (2, 3, 4, 5, 6):
            need(fields[0] in self.users, "no such user")
            need(number != 2 or fields[1:] != [None, None], "nothing would change")
        elif number == 7:
            need(fields[1] in self.users, "no such user")
            need(not fields[2] & NOT_ON_OBJECTS, "a flag that can't stand in an ACL")
        elif number == 8:
            need(tuple(fields) in self.acls, "no such ACL")
        elif number == 9:
            need(len(fields[0].encode()) <= 65536, "too many rules")
        elif number == 10:
            kind, value = fields[0]
            need(1 <= value <= (10080 if kind else 397), "a setting out of its bounds")
        elif number == 11:
            need(1 <= len(fields[0]) <= 8192, "a certificate's size")
            need(fields[0] not in self.cas and len(self.cas) < 16, "the list of CAs")
            need(sha256(fields[0]) not in self.removed_cas, "a CA that was removed")
        elif number == 12:
            need(fields[0] in map(sha256, self.cas), "no such CA")
        elif number == 13:
            serial, reason = fields
            need(1 <= len(serial) <= 20 and serial[0] != 0, "a serial number")
            need(serial not in self.revoked, "revoked already")
            need(len(plain(reason).encode()) <= 256, "a reason")

    def apply(self, entry):
        number, fields = entry.number, entry.fields
        if number >= 15:
            self.apply_to_nodes(entry)
        keys = {}
        if number in (5, 14):
            keys = {uid: user["key"] for uid, user in self.users.items()}
        if number == 4:
            self.forget(self.users[fields[0]]["name"], (2, 3, 4))
        elif number in (1, 14) and fields[0]["uid"] not in self.users:
            self.forget(fields[0]["name"], (2, 3, 4))
        if number == 1:
            self.users[fields[0]["uid"]] = dict(fields[0])
        elif number == 2:
            user = self.users[fields[0]]
            user["superuser"] = user["superuser"] if fields[1] is None else fields[1]
            user["flags"] = user["flags"] if fields[2] is None else fields[2]
        elif number == 3:
            self.users[fields[0]]["disabled"] = fields[1]
        elif number == 4:
            del self.users[fields[0]]
            self.gone.add(fields[0])
            self.imported.pop(fields[0], None)
            self.acls = {k: v for k, v in self.acls.items() if k[1] != fields[0]}
        elif number in (5, 6):
            self.users[fields[0]]["key" if number == 5 else "password"] = fields[1]
        elif number == 7:
            self.acls[(fields[0], fields[1])] = fields[2]
        elif number == 8:
            del self.acls[tuple(fields)]
        elif number == 11:
            self.cas.append(fields[0])
        elif number == 12 and (entry.cluster or sha256(self.signs()) != fields[0]):
            self.cas = [ca for ca in self.cas if sha256(ca) != fields[0]]
            self.removed_cas.add(fields[0])
        elif number == 13:
            self.revoked.add(fields[0])
        elif number == 14:
            said = fields[0]
            before = self.imported.get(said["uid"])
            self.imported[said["uid"]] = said
            user = self.users.setdefault(said["uid"], dict(said))
            for what in ("disabled", "superuser", "flags", "key"):
                if before is None or before[what] != said[what]:
                    user[what] = said[what]
        if number in (5, 14):
            uid = fields[0] if number == 5 else fields[0]["uid"]
            if uid in keys and keys[uid] != self.users[uid]["key"]:
                self.forget(self.users[uid]["name"], (2,))


def verify(data, expected):
    """Number of entries and the head's hash; or the number of the entry refused, and why."""
    at, number, state = 0, 0, None
    try:
        need(data, "there is no entry")
        while at < len(data):
            item, end = read(data, at)
            need(end - at <= 69632, "larger than any entry")
            digest = hashlib.sha256(data[at:end]).digest()
            entry = Entry(item)
            if state is None:
                state = State(entry, digest, expected)
            else:
                state.add(entry, digest)
            at, number = end, number + 1
    except Refused as reason:
        return f"refused {number} {reason}"
    return f"ok {number} {state.hash.hex()}"


def main(arguments):
    if len(arguments) < 2 or not arguments[0].startswith("P"):
        sys.exit(__doc__)
    expected = base64.b64decode(arguments[0][1:], validate=True)
    answers = []
    for path in arguments[1:]:
        with open(path, "rb") as file:
            answers.append(verify(file.read(), expected))
        print(answers[-1])
    sys.exit(any(answer.startswith("refused") for answer in answers))


if __name__ == "__main__":
    main(sys.argv[1:])
