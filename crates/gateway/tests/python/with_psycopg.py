"""What psycopg 3 (and the libpq in it) does, through the gateway.

Arguments: a conninfo, and `restricted` for a user without set_transaction.
"""

import asyncio
import sys
import threading
import time

import psycopg
from psycopg import errors

CONNINFO = sys.argv[1]
RESTRICTED = sys.argv[2:] == ["restricted"]
MEGABYTE = 1024 * 1024


def connect(more="", **options):
    return psycopg.connect(CONNINFO + " " + more, autocommit=RESTRICTED, **options)


def queries():
    with connect() as connection:
        with connection.cursor() as cursor:
            cursor.execute("create table p (x int, y text)")
            cursor.executemany("insert into p values (%s, %s)", [(n, "y" * n) for n in range(100)])
            cursor.execute("select count(*), sum(length(y)) from p where x < %s", (50,), prepare=True)
            assert cursor.fetchone() == (50, 1225)
            cursor.execute("select x from p where x < %s order by x", (3,), binary=True)
            assert cursor.fetchall() == [(0,), (1,), (2,)]


def transactions():
    if RESTRICTED:
        with psycopg.connect(CONNINFO) as connection:
            try:
                connection.execute("select 1")
                raise AssertionError("a block was begun")
            except errors.InsufficientPrivilege:
                pass
        with connect() as connection:
            try:
                with connection.transaction():
                    raise AssertionError("a block was begun")
            except errors.InsufficientPrivilege:
                pass
            assert connection.execute("select 1").fetchone() == (1,)
        return
    with connect() as connection:
        connection.execute("insert into p values (1000, 'x')")
        connection.rollback()
        assert connection.execute("select count(*) from p where x = 1000").fetchone() == (0,)
        with connection.transaction(), connection.cursor("server_side") as cursor:
            cursor.execute("select generate_series(1, 1000)")
            assert len(cursor.fetchmany(10)) == 10
            assert len(cursor.fetchall()) == 990


def copy():
    with connect() as connection:
        with connection.cursor().copy("copy p from stdin") as copy:
            for n in range(20000):
                copy.write_row((n, "z" * 100))
        with connection.cursor().copy("copy (select * from p where y like 'z%') to stdout") as copy:
            size = sum(len(block) for block in copy)
        assert size > 2000000, size
        with connection.cursor().copy("copy p (y) to stdout (format binary)") as copy:
            assert sum(1 for _ in copy) > 1000
        try:
            with connection.cursor().copy("copy p from stdin") as copy:
                copy.write_row((1, "good"))
                copy.write(b"not a number\tx\n")
            raise AssertionError("taken")
        except errors.InvalidTextRepresentation:
            connection.rollback()
        try:
            with connection.cursor().copy("copy p from stdin") as copy:
                copy.write_row((424242, "half"))
                raise KeyError("changed my mind")
        except (KeyError, errors.QueryCanceled):
            connection.rollback()
        assert connection.execute("select count(*) from p where x = 424242").fetchone() == (0,)


def large_rows():
    with connect() as connection:
        big = b"\x00\xff" * (25 * MEGABYTE)
        (back, length) = connection.execute(
            "select %b::bytea, length(%b::bytea)", (big, big), binary=True
        ).fetchone()
        assert length == len(big) and back == big


def pipeline():
    with connect() as connection:
        with connection.pipeline():
            cursors = [connection.execute("select %s::int", (n,)) for n in range(500)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(500))
        try:
            with connection.pipeline():
                connection.execute("insert into p values (777777, 'x')")
                connection.execute("select 1 / 0")
                connection.execute("insert into p values (777778, 'x')")
            raise AssertionError("no error")
        except errors.DivisionByZero:
            connection.rollback()
        count = connection.execute("select count(*) from p where x >= 777777 and x < 800000")
        assert count.fetchone() == (0,)


def notify():
    with psycopg.connect(CONNINFO, autocommit=True) as listener, connect() as sender:
        listener.execute("listen news")
        for n in range(3):
            sender.execute("select pg_notify('news', %s)", (str(n),))
        sender.commit()
        heard = [note.payload for note in listener.notifies(timeout=10, stop_after=3)]
        assert heard == ["0", "1", "2"], heard


def cancel(more=""):
    with connect(more) as connection:
        timer = threading.Timer(0.3, connection.cancel_safe)
        timer.start()
        began = time.monotonic()
        try:
            connection.execute("select pg_sleep(30)")
            raise AssertionError("not cancelled")
        except errors.QueryCanceled:
            connection.rollback()
        assert time.monotonic() - began < 10
        assert connection.execute("select 1").fetchone() == (1,)


def negotiation():
    for more in ["sslnegotiation=direct", "channel_binding=require", "max_protocol_version=3.2"]:
        with connect(more) as connection:
            assert connection.execute("select session_user").fetchone() == ("alice",)
    cancel("min_protocol_version=3.2 max_protocol_version=3.2")
    with connect("application_name=here") as connection:
        assert connection.info.parameter_status("application_name") == "here"
        assert connection.info.backend_pid == connection.execute("select pg_backend_pid()").fetchone()[0]


async def at_once():
    async def one(n):
        async with await psycopg.AsyncConnection.connect(CONNINFO, autocommit=True) as connection:
            return (await (await connection.execute("select %s::int", (n,))).fetchone())[0]

    assert await asyncio.gather(*(one(n) for n in range(30))) == list(range(30))


for step in [queries, transactions, copy, large_rows, pipeline, notify, cancel, negotiation]:
    step()
    print(step.__name__, "ok", flush=True)
asyncio.run(at_once())
print("at_once ok")
