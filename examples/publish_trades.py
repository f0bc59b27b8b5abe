"""Publishes trades to the bus from Python: onto Redis by pipelined XADD, or into PostgreSQL by bus_publish_many().

  pip install -r examples/requirements.txt
  python examples/publish_trades.py --redis redis://localhost:6379/0 --provider mine trades.csv
  python examples/publish_trades.py --postgres postgres://localhost/market --provider mine trades.csv

trades.csv (or standard input) has a header: symbol,ts,price,size,side,trade_id. Nothing is lost: a batch is repeated until
the server has answered that it has it. A batch whose answer was lost may be there twice; it is stored once, because
trade_id tells a trade from another one of the same microsecond and from a repetition of itself.
"""

import argparse
import csv
import itertools
import operator
import sys
import time
from json.encoder import encode_basestring as quoted

import psycopg
import redis

TOPIC = "mdp.events"
COLUMNS = ("symbol", "ts", "price", "size", "side", "trade_id")
BATCH = 1000
PAUSE_SECONDS = 0.5


def events(provider, lines):
    """Symbol and JSON text of each trade. Numbers stay text, so that no digit is lost on the way."""
    rows = csv.reader(lines)
    header = next(rows)
    fields = operator.itemgetter(*(header.index(name) for name in COLUMNS))
    head = f'{{"kind":"tick","provider":{quoted(provider)},"symbol":'
    for row in rows:
        symbol, ts, price, size, side, trade_id = fields(row)
        text = f'{head}{quoted(symbol)},"src_ts":{quoted(ts)},"price":{quoted(price)},"trade_id":{quoted(trade_id)}'
        if size:
            text += f',"size":{quoted(size)}'
        if side:
            text += f',"side":{quoted(side)}'
        yield symbol, text + "}"


class OnRedis:
    """A batch is one transaction: all of it is there or nothing, so a repeated batch keeps the order of each symbol."""

    # what is over by itself: a server that restarts or is out of memory or disk; anything else is a mistake
    PASSING = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError, redis.ReadOnlyError, redis.OutOfMemoryError)

    def __init__(self, uri, wait_aof):
        self.client = redis.Redis.from_url(uri, socket_timeout=30)
        self.wait_aof = wait_aof

    def publish(self, trades):
        with self.client.pipeline(transaction=True) as pipe:
            for _, text in trades:
                pipe.execute_command("XADD", TOPIC, "*", "data", text)
            pipe.execute()
        # with appendfsync everysec a power loss can cost a second, unless each batch waits for the disk (Redis 7.2)
        if self.wait_aof and self.client.execute_command("WAITAOF", 1, 0, 20_000)[0] < 1:
            raise redis.TimeoutError("the append-only file was not on disk within 20 s")

    def is_passing(self, error):
        if isinstance(error, redis.AuthenticationError):
            return False
        return isinstance(error, self.PASSING) or str(error).startswith("MISCONF")


class OnPostgres:
    """A batch is one call and one commit."""

    def __init__(self, url):
        self.url = url
        self.connection = None

    def publish(self, trades):
        if self.connection is None or self.connection.closed:
            self.connection = psycopg.connect(self.url, autocommit=True, prepare_threshold=None)
        symbols, texts = zip(*trades)
        self.connection.execute("SELECT bus_publish_many(%s, %s, %s)", (TOPIC, list(symbols), list(texts)))

    def is_passing(self, error):
        # unreachable, restarting, read-only after a failover; disk full and out of memory are class 53
        return isinstance(error, psycopg.OperationalError | psycopg.errors.ReadOnlySqlTransaction)


def publish_all(bus, trades):
    count = 0
    while batch := list(itertools.islice(trades, BATCH)):
        waiting = False
        while True:
            try:
                bus.publish(batch)
                break
            except (redis.RedisError, psycopg.Error) as error:
                if not bus.is_passing(error):
                    raise
                if not waiting:
                    print(f"waiting: {error}", file=sys.stderr)
                waiting = True
                time.sleep(PAUSE_SECONDS)
        count += len(batch)
    return count


def main():
    parser = argparse.ArgumentParser(description="Publishes trades to mdp.events.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--redis", metavar="URI", help="redis://host:port/db")
    where.add_argument("--postgres", metavar="URL", help="postgres://user@host/database, of bus.type postgres")
    parser.add_argument("--provider", required=True, help="1-64 characters without blanks")
    parser.add_argument("--wait-aof", action="store_true", help="wait until Redis has each batch on disk (Redis 7.2)")
    parser.add_argument("file", nargs="?", help="default: standard input")
    options = parser.parse_args()
    bus = OnRedis(options.redis, options.wait_aof) if options.redis else OnPostgres(options.postgres)
    started = time.monotonic()
    with open(options.file, newline="", encoding="utf-8") if options.file else sys.stdin as lines:
        count = publish_all(bus, events(options.provider, lines))
    seconds = time.monotonic() - started
    print(f"{count} trades published, {count / max(seconds, 1e-9):.0f} a second")


if __name__ == "__main__":
    main()
