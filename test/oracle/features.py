"""The features of some ticks, computed without anything of src/core/feature: pandas and numpy put the ticks of each window side
by side, scipy and numpy take their moments, in long doubles where digits would be lost.

Ticks are CSV without a header: symbol,src_ts,seq,price,size,bid,ask,side. src_ts is whole microseconds since 1970; an empty field
is none. Order within a symbol is (src_ts, seq).

The output is little-endian doubles, a row for each symbol (in the order of their names) and time: the time, 1 for the close of a
window (before any tick of that very time) or 0 for a tick's time (after all ticks of it), and the features in the order of
--features. NaN is null.
"""

import argparse
import json
from decimal import Decimal

import numpy as np
import pandas as pd
from scipy import signal, stats

SECOND = 1_000_000
DAY = 86_400 * SECOND
YEAR_MS = 31_536_000_000
LONG = np.longdouble
# cells without a move from which on averages are decayed by a formula: long before a double would lose digits
STILL = 4_000
# averages below 2^-992 are none: 2^-1000 in the unit 2^8 of prices that the program keeps them in
NOTHING_LOG2 = -992.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ticks")
    parser.add_argument("--out", required=True)
    parser.add_argument("--features", required=True, help='JSON: [["vwap_1m", "vwap", 60000], …], null for no window')
    parser.add_argument("--grid-ms", type=int, default=1_000)
    parser.add_argument("--window-ms", type=int, default=2_000, help="of whose closes there are rows")
    asked = parser.parse_args()
    ticks = pd.read_csv(
        asked.ticks,
        header=None,
        names=["symbol", "ts", "seq", "price", "size", "bid", "ask", "side"],
        dtype={"symbol": str, "ts": "int64", "seq": "int64"} | {of: "float64" for of in ["price", "size", "bid", "ask", "side"]},
        float_precision="round_trip",
    )
    features = json.loads(asked.features)
    rows = []
    for _, of_symbol in ticks.sort_values(["symbol", "ts", "seq"]).groupby("symbol"):
        rows.append(Symbol(of_symbol, asked.grid_ms * 1_000).rows(features, asked.window_ms * 1_000))
    np.concatenate(rows).astype("<f8").tofile(asked.out)


class Symbol:
    def __init__(self, ticks: pd.DataFrame, grid_us: int):
        self.ts = ticks["ts"].to_numpy()
        self.price = ticks["price"].to_numpy()
        self.size = ticks["size"].fillna(0.0).to_numpy()
        self.side = ticks["side"].fillna(0.0).to_numpy()
        self.quotes = ticks[["bid", "ask"]].reset_index(drop=True)
        self.grid_us = grid_us
        self.day = self.ts // DAY

    def rows(self, features, window_us: int) -> np.ndarray:
        ends = np.unique(self.ts // window_us + 1) * window_us
        times = np.unique(self.ts)
        self.at = np.concatenate([ends, times])
        is_close = np.concatenate([np.ones(len(ends)), np.zeros(len(times))])
        # how many ticks are known: a close comes before a tick of its own time
        self.known = np.concatenate([np.searchsorted(self.ts, ends, "left"), np.searchsorted(self.ts, times, "right")])
        order = np.lexsort((-is_close, self.at))
        self.at, self.known, is_close = self.at[order], self.known[order], is_close[order]
        self.newest = self.known - 1
        self.look_at_closes()
        columns = [getattr(self, kind)(horizon_ms) for _, kind, horizon_ms in features]
        out = np.column_stack([self.at.astype(float), is_close, *(np.asarray(each, dtype=float) for each in columns)])
        out[~np.isfinite(out)] = np.nan
        return out

    # of ticks

    def window_sum(self, values: np.ndarray, horizon_ms: int) -> np.ndarray:
        """Each window alone: nothing of one is in the next."""
        begin = np.searchsorted(self.ts, self.at - horizon_ms * 1_000, "right")
        padded = np.append(values.astype(LONG), LONG(0))
        spans = np.column_stack([begin, self.known]).ravel()
        sums = np.add.reduceat(padded, spans)[::2]
        return np.where(begin < self.known, sums, LONG(0))

    def vwap(self, horizon_ms: int) -> np.ndarray:
        return quotient(
            self.window_sum(self.price.astype(LONG) * self.size.astype(LONG), horizon_ms), self.window_sum(self.size, horizon_ms)
        )

    def order_imbalance(self, horizon_ms: int) -> np.ndarray:
        bought = self.window_sum(np.where(self.side > 0, self.size, 0.0), horizon_ms)
        sold = self.window_sum(np.where(self.side < 0, self.size, 0.0), horizon_ms)
        return quotient(bought - sold, bought + sold)

    def ret(self, horizon_ms: int) -> np.ndarray:
        before = np.searchsorted(self.ts, self.at - horizon_ms * 1_000, "right") - 1
        base = np.where(before >= 0, self.price[np.maximum(before, 0)], np.nan)
        return quotient(self.price[self.newest], base) - 1

    def spread_bps(self, _horizon_ms) -> np.ndarray:
        quoted = self.quotes.where(self.quotes.notna().all(axis=1)).ffill()
        bid, ask = (quoted[of].to_numpy()[self.newest].astype(LONG) for of in ["bid", "ask"])
        return quotient(ask - bid, (ask + bid) / 2) * 10_000

    def vwap_deviation_bps(self, _horizon_ms) -> np.ndarray:
        vwap = np.empty(len(self.ts), dtype=LONG)
        for of_day in self.days():
            size = self.size[of_day].astype(LONG)
            vwap[of_day] = quotient(np.cumsum(self.price[of_day].astype(LONG) * size), np.cumsum(size))
        return (quotient(self.price - vwap, vwap) * 10_000)[self.newest]

    def vp_distance_bps(self, _horizon_ms) -> np.ndarray:
        poc = np.empty(len(self.ts))
        for of_day in self.days():
            poc[of_day] = points_of_control(self.price[of_day], self.size[of_day])
        return (quotient(self.price.astype(LONG) - poc, poc) * 10_000)[self.newest]

    def days(self) -> list[slice]:
        starts = [*np.flatnonzero(np.diff(self.day, prepend=self.day[0] - 1)), len(self.day)]
        return [slice(start, end) for start, end in zip(starts, starts[1:])]

    def tick_rate_z(self, _horizon_ms) -> np.ndarray:
        seconds = self.ts // SECOND - self.ts[0] // SECOND
        counts = np.bincount(seconds, minlength=int((self.at[-1] - self.ts[0]) // SECOND + 2)).astype(float)
        whole = self.at // SECOND - self.ts[0] // SECOND

        def of_windows(windows: np.ndarray) -> np.ndarray:
            before = windows[:, :-1]
            return quotient(windows[:, -1] - before.mean(axis=1), before.std(axis=1, ddof=1))

        return at_windows(counts, whole, 301, of_windows)

    # of closes

    def look_at_closes(self) -> None:
        cell = self.ts // self.grid_us
        last = pd.Series(self.price, index=cell).groupby(level=0).last()
        cells = np.arange(cell[0], self.at[-1] // self.grid_us + 1)
        self.closes = last.reindex(cells).ffill().to_numpy()
        self.closed = self.at // self.grid_us - cell[0]
        before, after = self.closes[:-1].astype(LONG), self.closes[1:].astype(LONG)
        share = (after - before) / before
        # the logarithm of a quotient near 1 would lose digits even here
        self.returns = np.where(np.abs(share) < 0.5, np.log1p(share), np.log(after) - np.log(before))

    def of_returns(self, horizon_ms: int, moment) -> np.ndarray:
        return at_windows(self.returns, self.closed - 1, horizon_ms * 1_000 // self.grid_us, moment)

    def vol(self, horizon_ms: int) -> np.ndarray:
        return self.of_returns(horizon_ms, lambda windows: windows.std(axis=1, ddof=1))

    def volatility(self, horizon_ms: int) -> np.ndarray:
        return self.vol(horizon_ms) * np.sqrt(YEAR_MS * 1_000 / self.grid_us)

    def skewness(self, horizon_ms: int) -> np.ndarray:
        return self.of_returns(horizon_ms, lambda windows: stats.skew(windows, axis=1, bias=False))

    def kurtosis(self, horizon_ms: int) -> np.ndarray:
        return self.of_returns(horizon_ms, lambda windows: stats.kurtosis(windows, axis=1, fisher=True, bias=False))

    def bollinger(self, _horizon_ms) -> np.ndarray:
        def of_windows(windows: np.ndarray) -> np.ndarray:
            # of 1e8 and a cent more even a long double's mean is off by 1e-9 of their difference
            off = windows - windows[:, :1]
            return quotient(off[:, -1] - off.mean(axis=1), 2 * off.std(axis=1))

        return at_windows(self.closes.astype(LONG), self.closed, 20, of_windows)

    def rsi(self, _horizon_ms) -> np.ndarray:
        index = wilder(np.diff(self.closes))
        return np.where(self.closed > 14, index[np.maximum(self.closed - 2, 0)], np.nan)


def quotient(top, bottom):
    """NaN where nothing is divided by."""
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan, dtype=np.result_type(top, bottom)), where=bottom != 0)


def at_windows(values: np.ndarray, counts: np.ndarray, length: int, of_windows) -> np.ndarray:
    """of_windows of the last `length` of the first counts[i] values, for each i: each window once, some thousands at a time."""
    wanted, back = np.unique(counts, return_inverse=True)
    out = np.full(len(wanted), np.nan, dtype=LONG)
    warm = np.flatnonzero(wanted >= length)
    if len(warm) > 0:
        windows = np.lib.stride_tricks.sliding_window_view(values, length)
        for part in np.array_split(warm, len(warm) // 4_000 + 1):
            out[part] = of_windows(windows[wanted[part] - length])
    return out[back]


def wilder(changes: np.ndarray) -> np.ndarray:
    """The index after each change; of the first 13 it means nothing."""
    gains, losses = np.maximum(changes, 0), np.maximum(-changes, 0)
    index = np.full(len(changes), np.nan)
    if len(changes) < 14:
        return index
    averages = [gains[:14].mean(), losses[:14].mean()]
    index[13] = relative_strength(*averages)
    at = 14
    for begin, end in [*still_runs(changes, 14), (len(changes), len(changes))]:
        if begin > at:
            smooth = [
                signal.lfilter([1 / 14], [1, -13 / 14], values[at:begin], zi=[average * 13 / 14])[0]
                for values, average in zip((gains, losses), averages)
            ]
            index[at:begin] = relative_strength(*smooth)
            averages = [smooth[0][-1], smooth[1][-1]]
        if end > begin:
            index[begin:end] = relative_strength(*averages)
            if max(averages) > 0:
                left = np.log2(max(averages)) + np.arange(1, end - begin + 1) * np.log2(13 / 14)
                index[begin:end][left < NOTHING_LOG2] = 50
                averages = [0.0, 0.0] if left[-1] < NOTHING_LOG2 else [each * (13 / 14) ** (end - begin) for each in averages]
        at = end
    return index


def still_runs(changes: np.ndarray, first: int) -> list[tuple[int, int]]:
    """Where so many changes are 0 that averages are decayed by a formula: begin and end of each run."""
    moves = np.concatenate([[first - 1], np.flatnonzero(changes[first:]) + first, [len(changes)]])
    return [(int(a) + 1, int(b)) for a, b in zip(moves, moves[1:]) if b - a - 1 >= STILL]


def relative_strength(gain, loss):
    gain, loss = np.asarray(gain, dtype=LONG), np.asarray(loss, dtype=LONG)
    return np.where(gain + loss == 0, 50.0, quotient(100 * gain, gain + loss))


def points_of_control(price: np.ndarray, size: np.ndarray) -> np.ndarray:
    """After each tick of a day the lower bound of the bin with the most volume, of equal ones the lower."""
    width = nice_width(Decimal(repr(float(price[0]))) / 10_000)
    bins = np.array([float(Decimal(repr(each)) // width) for each in price.tolist()])
    volume = np.zeros(len(bins))
    for each in np.unique(bins):
        volume[bins == each] = np.cumsum(size[bins == each])
    most = np.maximum.accumulate(volume)
    # of the ticks since the most became what it is, the lowest bin that reached it
    level = np.cumsum(np.diff(most, prepend=0.0) > 0)
    reached = pd.Series(np.where((volume == most) & (size > 0), bins, np.inf))
    lowest = reached.groupby(level).cummin().to_numpy()
    return np.where(most > 0, lowest * float(width), np.nan)


def nice_width(width: Decimal) -> Decimal:
    power = Decimal(1).scaleb(width.adjusted())
    return max(digit * power for digit in (1, 2, 5) if digit * power <= width)


if __name__ == "__main__":
    with np.errstate(divide="ignore", invalid="ignore"):
        import warnings

        # of windows whose returns are all 0 scipy says that nothing is left of them: it returns NaN, which is meant
        warnings.simplefilter("ignore", RuntimeWarning)
        main()
