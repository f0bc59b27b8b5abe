"""Reads exported ticks as analysts do, and compares them with what DuckDB's own client of Postgres reads from the table.

exports.py URL FOLDER

FOLDER holds ticks.csv, ticks.parquet, and may hold ticks.csv.gz, ticks.csv.zst and set/ (day=…/symbol=…). Everything of the
provider ibkr is meant. Prints JSON: the rows, and the seconds of DuckDB's own COPY from Postgres to Parquet. Exits with 1 and says
what differs.
"""

import glob
import json
import os
import sys
import sysconfig
import time

import duckdb
import pandas
import polars
import pyarrow.parquet

COLUMNS = ["provider", "symbol", "price", "ts", "size", "bid", "ask", "side", "seq", "created_at"]
# above it, columns of text are not made Python objects
FRAME_ROWS_MAX = 1_000_000


def main(url, folder):
    packages = sysconfig.get_paths()["purelib"]
    extension = glob.glob(os.path.join(packages, "duckdb_ext/extensions/*/*/postgres_scanner.duckdb_extension"))[0]
    own = os.path.join(folder, "duckdb.parquet")
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"LOAD '{extension}'")
    connection.execute(f"ATTACH '{url}' AS pg (TYPE postgres, READ_ONLY)")
    began = time.monotonic()
    connection.execute(
        f"""COPY (SELECT {', '.join(COLUMNS)} FROM pg.public.tick_data WHERE provider = 'ibkr' ORDER BY ts, symbol, seq)
            TO '{own}' (FORMAT parquet, COMPRESSION zstd)"""
    )
    seconds = time.monotonic() - began
    types = "{'side': 'SMALLINT', 'seq': 'BIGINT', 'size': 'DOUBLE', 'bid': 'DOUBLE', 'ask': 'DOUBLE', 'price': 'DOUBLE', 'ts': 'TIMESTAMPTZ', 'created_at': 'TIMESTAMPTZ'}"
    sources = {"ticks.parquet": f"read_parquet('{folder}/ticks.parquet')"}
    for name in ["ticks.csv", "ticks.csv.gz", "ticks.csv.zst"]:
        if os.path.exists(os.path.join(folder, name)):
            sources[name] = f"read_csv('{folder}/{name}', types = {types})"
    for name, source in sources.items():
        equal_rows(connection, name, source, own)
    rows = connection.execute(f"SELECT count(*) FROM '{own}'").fetchone()[0]
    if os.path.exists(os.path.join(folder, "set")):
        partitioned(connection, folder, own)
    frames(folder, own, rows)
    print(json.dumps({"rows": rows, "seconds": seconds}))


def equal_rows(connection, name, source, own):
    names = [column[0] for column in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
    assert names == COLUMNS, f"{name}: {names}"
    differs = " OR ".join(f"a.{column} IS DISTINCT FROM b.{column}" for column in COLUMNS)
    found = connection.execute(
        f"SELECT count(*) FROM (SELECT * FROM {source}) a POSITIONAL JOIN (SELECT * FROM '{own}') b WHERE {differs}"
    ).fetchone()[0]
    assert found == 0, f"{name}: {found} rows differ"


def partitioned(connection, folder, own):
    files = f"read_parquet('{folder}/set/**/*.parquet', hive_partitioning = true, hive_types = {{'symbol': 'VARCHAR', 'day': 'DATE'}})"
    missing = connection.execute(
        f"""SELECT count(*) FROM (
              (SELECT {', '.join(COLUMNS)} FROM '{own}' EXCEPT ALL SELECT {', '.join(COLUMNS)} FROM {files})
              UNION ALL (SELECT {', '.join(COLUMNS)} FROM {files} EXCEPT ALL SELECT {', '.join(COLUMNS)} FROM '{own}'))"""
    ).fetchone()[0]
    assert missing == 0, f"set: {missing} rows differ"
    wrong = connection.execute(f"SELECT count(*) FROM {files} WHERE day <> CAST(ts AT TIME ZONE 'UTC' AS DATE)").fetchone()[0]
    assert wrong == 0, f"set: {wrong} rows are in the folder of another day"
    table = pandas.read_parquet(os.path.join(folder, "set"))
    assert set(table.columns) == {*COLUMNS, "day"}, list(table.columns)
    lazily = polars.scan_parquet(os.path.join(folder, "set/**/*.parquet"), hive_partitioning=True)
    assert lazily.select(polars.len()).collect().item() == len(table)


def frames(folder, own, rows):
    wanted = COLUMNS if rows <= FRAME_ROWS_MAX else [name for name in COLUMNS if name not in ("provider", "symbol")]
    expected = pandas.read_parquet(own, columns=wanted)
    parquet = os.path.join(folder, "ticks.parquet")
    assert pyarrow.parquet.read_schema(parquet).field("ts").type == pyarrow.timestamp("us", tz="UTC")
    pandas.testing.assert_frame_equal(pandas.read_parquet(parquet, columns=wanted), expected, check_exact=True, check_dtype=False)
    read = polars.read_parquet(parquet, columns=wanted)
    assert read.schema["ts"] == polars.Datetime("us", "UTC"), read.schema
    pandas.testing.assert_frame_equal(read.to_pandas(), expected, check_exact=True, check_dtype=False)
    csv = pandas.read_csv(
        os.path.join(folder, "ticks.csv"), usecols=wanted, parse_dates=["ts", "created_at"], float_precision="round_trip"
    )
    assert str(csv["ts"].dtype).endswith("UTC]"), csv["ts"].dtype
    pandas.testing.assert_frame_equal(csv[wanted], expected, check_exact=True, check_dtype=False)


main(*sys.argv[1:3])
