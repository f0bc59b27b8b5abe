"""The bars of some events, computed without anything of the micro-batcher: pandas groups them, math.fsum adds them up.

Events are CSV without a header: provider,symbol,src_ts,seq,price,size. src_ts is whole microseconds since 1970; an empty
size is none. They stand in the order in which they were published: of two with one id (provider, symbol, src_ts, seq) the
first counts. Between two files every symbol fell idle, so what was open is closed.

The output is CSV without a header, for COPY into a table with the columns
  provider,symbol,interval,ts,open,high,low,close,volume,vwap,tick_count,first_ts,last_ts,is_final
with numbers that parse to the same doubles, and one JSON line of counts on stdout.
"""

import argparse
import csv
import json
import math
import sys

import pandas as pd

KEY = ["provider", "symbol"]
ID = [*KEY, "src_ts", "seq"]
UNITS = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)]
ROLLUPS_MS = "60000,300000,3600000,86400000"


def main() -> None:
    asked = arguments()
    window_us = asked.window_ms * 1_000
    phases = [read(path) for path in asked.events]
    events = pd.concat(phases, ignore_index=True)
    late = pd.Series(False, index=events.index)
    if asked.policy == "turned_away":
        late = pd.Series(late_ones(phases, window_us, asked.allow_late_ms * 1_000), index=events.index)
    if asked.late_out is not None:
        with open(asked.late_out, "w") as out:
            out.writelines(f"{row}\n" for row in late.index[late])
    counted = events[~late].drop_duplicates(ID, keep="first").sort_values(ID)
    counted["size"] = counted["size"].fillna(0.0)
    counted["pv"] = counted["price"] * counted["size"]
    # all symbols are idle at the end: the window of a symbol's newest event is closed
    newest = counted.groupby(KEY, observed=True)["src_ts"].max()
    closed_end = (newest // window_us + 1) * window_us
    rows = 0
    with open(asked.out, "w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        for interval_ms in [asked.window_ms, *map(int, asked.rollups_ms.split(","))]:
            bars = bars_of(counted, interval_ms * 1_000)
            is_base = interval_ms == asked.window_ms
            rows += write(writer, bars, interval_ms, None if is_base else closed_end)
    counts = {"events": len(events), "distinct": len(counted), "late": int(late.sum()), "bars": rows}
    json.dump(counts, sys.stdout)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", nargs="+", help="CSV files, one after the other")
    parser.add_argument("--out", required=True, help="CSV of the bars")
    parser.add_argument("--window-ms", type=int, default=2_000)
    parser.add_argument("--rollups-ms", default=ROLLUPS_MS, help="lengths of the coarser bars, ms, with commas")
    parser.add_argument(
        "--policy",
        choices=["revise", "turned_away"],
        default="revise",
        help="revise: late events are in the bars all the same; turned_away: they are not",
    )
    parser.add_argument("--allow-late-ms", type=int, default=500, help="decides who is late when they are turned away")
    parser.add_argument("--late-out", help="file of the numbers (from 0, over all files) of the events that were late")
    return parser.parse_args()


def read(path: str) -> pd.DataFrame:
    return pd.read_csv(
        path,
        header=None,
        names=[*ID, "price", "size"],
        dtype={
            "provider": "category",
            "symbol": "category",
            "src_ts": "int64",
            "seq": "int64",
            "price": "float64",
            "size": "float64",
        },
        # nothing but an empty field is missing: NA may be a symbol
        keep_default_na=False,
        na_values={"size": [""]},
        float_precision="round_trip",
    ).astype({"provider": str, "symbol": str})


def late_ones(phases: list[pd.DataFrame], window_us: int, allow_late_us: int) -> list[bool]:
    """Whether each event lay in a window that was closed when it was read: one at a time, in the order published."""
    closed: dict[tuple[str, str], int] = {}
    late = []
    for phase in phases:
        newest: dict[tuple[str, str], int] = {}
        for provider, symbol, src_ts in zip(phase["provider"], phase["symbol"], phase["src_ts"].tolist()):
            key = (provider, symbol)
            end = (src_ts // window_us + 1) * window_us
            is_late = end <= closed.get(key, end - 1)
            late.append(is_late)
            if is_late or src_ts <= newest.get(key, src_ts - 1):
                continue
            newest[key] = src_ts
            up_to = (src_ts - allow_late_us) // window_us * window_us
            closed[key] = max(closed.get(key, up_to), up_to)
        for key, src_ts in newest.items():
            closed[key] = max(closed[key], (src_ts // window_us + 1) * window_us)
    return late


def bars_of(events: pd.DataFrame, interval_us: int) -> pd.DataFrame:
    """A row for each provider, symbol and window; events are in order, each once."""
    start = (events["src_ts"] // interval_us * interval_us).rename("start")
    bars = events.groupby([*KEY, start], observed=True).agg(
        open=("price", "first"),
        high=("price", "max"),
        low=("price", "min"),
        close=("price", "last"),
        volume=("size", math.fsum),
        pv=("pv", math.fsum),
        tick_count=("price", "size"),
        first_ts=("src_ts", "min"),
        last_ts=("src_ts", "max"),
    )
    return bars.reset_index()


def write(writer, bars: pd.DataFrame, interval_ms: int, closed_end: pd.Series | None) -> int:
    """closed_end: up to where the windows of each symbol are closed; None: these bars are written when they close."""
    name = interval_name(interval_ms)
    for column in ["start", "first_ts", "last_ts"]:
        bars[column + "_iso"] = pd.to_datetime(bars[column], unit="us", utc=True).dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    for bar in bars.itertuples():
        end = bar.start + interval_ms * 1_000
        is_final = closed_end is None or end <= closed_end[(bar.provider, bar.symbol)]
        writer.writerow(
            [
                bar.provider,
                bar.symbol,
                name,
                bar.start_iso,
                *(repr(float(value)) for value in (bar.open, bar.high, bar.low, bar.close, bar.volume)),
                "" if bar.volume == 0 else repr(float(bar.pv / bar.volume)),
                bar.tick_count,
                bar.first_ts_iso,
                bar.last_ts_iso,
                "t" if is_final else "f",
            ]
        )
    return len(bars)


def interval_name(ms: int) -> str:
    """2000 is 2s: by the largest unit that divides it."""
    unit, length = next((unit, length) for unit, length in UNITS if ms % length == 0)
    return f"{ms // length}{unit}"


if __name__ == "__main__":
    main()
