-- Analytics over market ticks: bars and spreads as views; vwap, volume profile and buckets of any width as functions.
-- Safe to apply twice; one transaction.
--
-- stages: bars, signals, api

begin;
set local client_min_messages = warning;
do $$
begin
  perform pg_advisory_xact_lock(
    coalesce((select n.oid from pg_namespace n where n.nspname = current_schema()), 0)::bigint::bit(32)::int, 2);
end
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Bars by their interval. They are read and not computed: what the micro-batcher wrote is the one truth about a window.
-- ---------------------------------------------------------------------------------------------------------------------

create or replace view tick_agg_1m as
select provider, symbol, ts as bucket, open, high, low, close, volume, vwap, tick_count, first_ts, last_ts, is_final, revision
  from bars_ohlcv where "interval" = '1m';

create or replace view tick_agg_5m as
select provider, symbol, ts as bucket, open, high, low, close, volume, vwap, tick_count, first_ts, last_ts, is_final, revision
  from bars_ohlcv where "interval" = '5m';

create or replace view tick_agg_1h as
select provider, symbol, ts as bucket, open, high, low, close, volume, vwap, tick_count, first_ts, last_ts, is_final, revision
  from bars_ohlcv where "interval" = '1h';

comment on view tick_agg_1m is 'bars of one minute; bucket is the start of the window, which is half-open';
comment on view tick_agg_5m is 'bars of five minutes; bucket is the start of the window, which is half-open';
comment on view tick_agg_1h is 'bars of one hour; bucket is the start of the window, which is half-open';

-- Quotes of a minute. A crossed quote (bid above ask) counts with its negative spread: left out, it would hide that the
-- feed is wrong. mid is bid + (ask - bid) / 2, whose sums cannot overflow before the spread does; at mid 0 there are no
-- basis points, and no row. date_bin and not date_trunc, whose minutes depend on the time zone of the session.
create or replace view tick_spread_1m as
select q.provider,
       q.symbol,
       date_bin(interval '1 minute', q.ts, timestamptz '1970-01-01 00:00:00+00') as bucket,
       count(*) as tick_count,
       avg(q.spread) as spread_avg,
       min(q.spread) as spread_min,
       max(q.spread) as spread_max,
       percentile_cont(0.5) within group (order by q.spread) as spread_median,
       avg(q.spread / nullif(q.bid + q.spread / 2, 0) * 1e4) as spread_bps_avg,
       count(*) filter (where q.bid > q.ask) as crossed_count
  from (select provider, symbol, ts, bid, ask, ask - bid as spread
          from tick_data where bid is not null and ask is not null) q
 group by q.provider, q.symbol, bucket;

comment on view tick_spread_1m is 'spreads of each minute, of ticks that have bid and ask; bps: (ask - bid) / mid x 10,000';

-- ---------------------------------------------------------------------------------------------------------------------
-- Functions. All take [from, to); -infinity and infinity leave an end open. A symbol is upper-cased as it is stored. The
-- collation is named, or the collation of an argument could keep the primary key from being used.
-- ---------------------------------------------------------------------------------------------------------------------

-- Plain sums of doubles: equal to the vwap of a bar but for the last digits, which depend on the order of the rows.
create or replace function tick_vwap(p_provider text, p_symbol text, p_from timestamptz, p_to timestamptz)
returns double precision
language sql stable set search_path from current
as $$
  select sum(t.price * t.size) / nullif(sum(t.size), 0)
    from tick_data t
    where t.provider = p_provider collate "C" and t.symbol = upper(p_symbol collate "C")
      and t.ts >= p_from and t.ts < p_to
$$;
comment on function tick_vwap(text, text, timestamptz, timestamptz) is
  'sum of price x size / sum of size over [from, to); a null size counts 0; null without volume';

-- Bins are found in decimal. floor(price / step) of doubles puts 0.29 into the bin of 0.28 (0.29 / 0.01 is
-- 28.999999999999996); a plain cast to numeric keeps 15 digits and moves prices that have more. The shortest text of a
-- double (what extra_float_digits = 1 gives) is the decimal that was written, and div and mod of numeric are exact where
-- its quotient is rounded. Prices are grouped first: the conversion is paid once for each.
create or replace function volume_profile(
  p_provider text, p_symbol text, p_from timestamptz, p_to timestamptz, p_step double precision
) returns table (
  price_bin double precision, volume double precision, tick_count bigint,
  buy_volume double precision, sell_volume double precision
)
language plpgsql stable set search_path from current set extra_float_digits = 1
as $$
declare
  step numeric;
begin
  -- NaN is above infinity to PostgreSQL
  if p_step is null or not (p_step > 0 and p_step < 'Infinity') then
    raise exception 'step must be a number above 0, not %', coalesce(p_step::text, 'null')
      using errcode = 'invalid_parameter_value', hint = 'It is the width of a bin in units of the price, such as 0.01.';
  end if;
  step := p_step::text::numeric;
  return query
    with prices as (
      select t.price::text::numeric as price,
             coalesce(sum(t.size), 0) as volume,
             count(*) as ticks,
             coalesce(sum(t.size) filter (where t.side = 1), 0) as buys,
             coalesce(sum(t.size) filter (where t.side = -1), 0) as sells
        from tick_data t
        where t.provider = p_provider collate "C" and t.symbol = upper(p_symbol collate "C")
          and t.ts >= p_from and t.ts < p_to
        group by t.price
    ), binned as (
      -- div cuts towards zero: below it, what has a remainder is one bin lower
      select (div(p.price, step) - case when mod(p.price, step) < 0 then 1 else 0 end) * step as bin,
             p.volume, p.ticks, p.buys, p.sells
        from prices p
    )
    select b.bin::double precision, sum(b.volume), sum(b.ticks)::bigint, sum(b.buys), sum(b.sells)
      from binned b
      group by b.bin
      order by b.bin;
end
$$;
comment on function volume_profile(text, text, timestamptz, timestamptz, double precision) is
  'volume of [from, to) by price: price_bin is the lower bound of [price_bin, price_bin + step); bins without ticks are left out';

-- Bars of any width straight from the ticks, for widths that the micro-batcher does not write. Windows are aligned to
-- 1970-01-01 UTC as bars are; the first and the last one hold only what lies in [from, to). A day is 24 hours. Months have no
-- length, and a null width would put every tick into a bucket without a time.
create or replace function tick_bars(
  p_provider text, p_symbol text, p_bucket interval, p_from timestamptz, p_to timestamptz
) returns table (
  bucket timestamptz, open double precision, high double precision, low double precision, close double precision,
  volume double precision, vwap double precision, tick_count bigint
)
language plpgsql stable set search_path from current
as $$
begin
  if p_bucket is null or not isfinite(p_bucket) or extract(year from p_bucket) <> 0 or extract(month from p_bucket) <> 0
    or extract(epoch from p_bucket) <= 0 then
    raise exception 'bucket must be a length of time above 0 without months or years, not %', coalesce(p_bucket::text, 'null')
      using errcode = 'invalid_parameter_value',
            hint = 'Such as 15 minutes or 7 days. For months group buckets of 1 day by date_trunc(''month'', bucket).';
  end if;
  -- in the order of the primary key, so one scan gives first and last
  return query
    select b.bin, b.prices[1], b.highest, b.lowest, b.prices[b.ticks], b.total, b.amount / nullif(b.total, 0), b.ticks
      from (select date_bin(p_bucket, t.ts, timestamptz '1970-01-01 00:00:00+00') as bin,
                   array_agg(t.price order by t.ts, t.seq) as prices,
                   max(t.price) as highest,
                   min(t.price) as lowest,
                   coalesce(sum(t.size), 0) as total,
                   sum(t.price * t.size) as amount,
                   count(*) as ticks
              from tick_data t
              where t.provider = p_provider collate "C" and t.symbol = upper(p_symbol collate "C")
                and t.ts >= p_from and t.ts < p_to
              group by 1) b
      order by b.bin;
end
$$;
comment on function tick_bars(text, text, interval, timestamptz, timestamptz) is
  'ticks of [from, to) as bars of any width: open and close by (ts, seq), a null size counts 0, vwap null without volume';

insert into schema_migrations (name) values ('006_analytics.sql') on conflict (name) do nothing;

commit;
