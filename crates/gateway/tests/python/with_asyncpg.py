"""What asyncpg does, through the gateway.

Arguments: port, password, root certificate, and `restricted` for a user without set_transaction.
"""

import asyncio
import io
import ssl
import sys

import asyncpg

PORT, PASSWORD, ROOT = int(sys.argv[1]), sys.argv[2], sys.argv[3]
RESTRICTED = sys.argv[4:] == ["restricted"]


def connect(**options):
    context = ssl.create_default_context(cafile=ROOT)
    context.set_alpn_protocols(["postgresql"])
    return asyncpg.connect(
        host="localhost",
        port=PORT,
        user="alice",
        password=PASSWORD,
        database="postgres",
        ssl=context,
        **options,
    )


async def queries():
    connection = await connect()
    await connection.execute("create table a (x int, y bytea)")
    for n in range(10):
        await connection.execute("insert into a values ($1, $2)", n, b"y" * n)
    statement = await connection.prepare("select x, length(y) as l from a where x = any($1)")
    rows = await statement.fetch([1, 2, 3])
    assert [tuple(row) for row in rows] == [(1, 1), (2, 2), (3, 3)]
    if RESTRICTED:
        try:
            async with connection.transaction():
                raise AssertionError("a block was begun")
        except asyncpg.InsufficientPrivilegeError:
            pass
    else:
        async with connection.transaction():
            assert len([row async for row in connection.cursor("select generate_series(1, 300)")]) == 300
        # One Execute per row, all in one go.
        await connection.executemany("insert into a values ($1, $2)", [(n, b"") for n in range(500)])
    assert await connection.fetchval("select count(*) from a") >= 10
    await connection.close()


async def copy():
    connection = await connect()
    data = b"".join(b"%d\t\\\\x00\n" % n for n in range(50000))
    status = await connection.copy_to_table("a", source=io.BytesIO(data), columns=["x", "y"])
    assert status == "COPY 50000", status
    out = io.BytesIO()
    await connection.copy_from_query("select x from a", output=out)
    assert len(out.getvalue()) > 200000
    await connection.close()


async def large_rows():
    connection = await connect()
    big = bytes(range(256)) * (50 * 4096)
    assert await connection.fetchval("select $1::bytea", big) == big
    await connection.close()


async def notify():
    listener, sender = await connect(), await connect()
    heard = asyncio.Queue()
    await listener.add_listener("news", lambda _c, _p, _ch, payload: heard.put_nowait(payload))
    await sender.execute("select pg_notify('news', 'extra')")
    assert await asyncio.wait_for(heard.get(), 10) == "extra"
    await listener.close()
    await sender.close()


async def cancel():
    connection = await connect()
    try:
        await connection.fetch("select pg_sleep(30)", timeout=0.3)
        raise AssertionError("not cancelled")
    except (asyncio.TimeoutError, TimeoutError):
        pass
    assert await connection.fetchval("select 2") == 2
    await connection.close()


async def direct_tls():
    connection = await connect(direct_tls=True)
    assert await connection.fetchval("select session_user::text") == "alice"
    await connection.close()


async def one_statement(connection):
    await connection.execute("reset all")


async def pool():
    context = ssl.create_default_context(cafile=ROOT)
    # asyncpg resets a connection with several statements in one query, which a restricted user may not.
    options = {"reset": one_statement} if RESTRICTED else {}
    async with asyncpg.create_pool(
        host="localhost", port=PORT, user="alice", password=PASSWORD, database="postgres",
        ssl=context, min_size=5, max_size=10, **options,
    ) as pool:
        found = await asyncio.gather(*(pool.fetchval("select $1::int", n) for n in range(200)))
        assert found == list(range(200))


async def main():
    for step in [queries, copy, large_rows, notify, cancel, direct_tls, pool]:
        await step()
        print(step.__name__, "ok", flush=True)


asyncio.run(main())
