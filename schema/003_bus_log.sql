-- The postgres bus: an append-only log per topic and partition, cut into segments (tables of their own, so that trimming
-- is DROP TABLE and never DELETE), and groups that share it. Segments are plain tables, never hypertables. Publishing
-- needs CREATE on the schema, trimming the ownership of the segments. Safe to apply twice; one transaction.
--
-- stages: orders, ticks, bars, signals, api

begin;
set local client_min_messages = warning;
do $$
begin
  perform pg_advisory_xact_lock(
    coalesce((select n.oid from pg_namespace n where n.nspname = current_schema()), 0)::bigint::bit(32)::int, 2);
end
$$;

-- The counter of a log, and its lock: who appends holds this row until its commit, so records become visible in the order
-- of their offsets and no reader can pass one that is not committed yet. Room on the page keeps the updates heap-only.
create table if not exists bus_logs (
  topic text not null,
  partition int not null,
  next_offset bigint not null default 0,
  first_offset bigint not null default 0,
  segment_id bigint,
  segment_rows bigint not null default 0,
  segment_bytes bigint not null default 0,
  constraint bus_logs_pkey primary key (topic, partition)
) with (fillfactor = 10);
comment on column bus_logs.first_offset is 'what lies below is trimmed: not shown any more, though its segment may still exist';
comment on column bus_logs.segment_id is 'the segment that takes appends, null: the next append makes one';
alter table bus_logs drop column if exists segment_taken_us;
comment on column bus_logs.partition is
  '0: the topic''s own log, its one partition or its inbox; of several partitions p is p + 1';
alter table bus_logs add column if not exists is_appending boolean not null default false;
comment on column bus_logs.is_appending is
  'true only inside a transaction that appends several times: its counters follow at the commit';

-- The segments of a log; the table of one is bus_segment_<segment_id>.
create table if not exists bus_segments (
  segment_id bigint generated always as identity primary key,
  topic text not null,
  partition int not null,
  first_offset bigint not null,
  last_offset bigint,
  opened_at timestamptz not null default clock_timestamp()
);
alter table bus_segments drop column if exists last_taken_us;
create index if not exists bus_segments_first_offset_idx on bus_segments (topic, partition, first_offset);
comment on column bus_segments.last_offset is 'null while it takes appends';

-- Readers of a topic that have read all there is and want to be woken up, until this time. Appending looks here before it
-- notifies: a NOTIFY makes commits wait for each other, and readers who are behind do not need it.
create table if not exists bus_waits (
  topic text primary key,
  until timestamptz not null
) with (fillfactor = 10);

-- How far a group has handed out a partition. What lies below next_offset and in no claim is acknowledged.
create table if not exists bus_cursors (
  topic text not null,
  group_name text not null,
  partition int not null,
  next_offset bigint not null,
  updated_at timestamptz not null default clock_timestamp(),
  constraint bus_cursors_pkey primary key (topic, group_name, partition)
) with (fillfactor = 10);

-- Ranges that were handed out and are not acknowledged. member null: given back.
create table if not exists bus_claims (
  claim_id bigint generated always as identity primary key,
  topic text not null,
  group_name text not null,
  partition int not null,
  first_offset bigint not null,
  last_offset bigint not null,
  member text,
  session bigint not null,
  call bigint not null,
  attempts int not null,
  check (last_offset >= first_offset)
);
create index if not exists bus_claims_range_idx on bus_claims (topic, group_name, partition, first_offset);
comment on column bus_claims.call is 'number of the call of that session that handed it out: an answer that was lost is told by it';

-- Logs were numbered as partitions once, also where there are several: 0 is the topic's own now, for programs that do not know
-- how many there are.
do $$
declare
  former constant text := format('%I.bus_publish(text, text, text, integer)', current_schema());
  t text;
begin
  if to_regprocedure(former) is null then
    return;
  end if;
  foreach t in array array['bus_logs', 'bus_segments', 'bus_cursors', 'bus_claims'] loop
    execute format('update %I set partition = -partition - 2 '
                   'where topic in (select b.topic from bus_topics b where b.partitions > 1)', t);
    execute format('update %I set partition = -partition - 1 where partition < 0', t);
  end loop;
  execute 'drop function ' || former;
end
$$;

-- These are small, every batch updates them, and their dead rows are on every append's and every take's way.
do $$
declare
  t text;
begin
  foreach t in array array['bus_logs', 'bus_cursors', 'bus_claims', 'bus_members', 'bus_waits'] loop
    execute format('alter table %I set (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0, '
                   'autovacuum_vacuum_cost_delay = 0)', t);
  end loop;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Appending
-- ---------------------------------------------------------------------------------------------------------------------

-- Channels belong to the database: the oid keeps two schemas apart.
create or replace function bus_channel() returns text
language sql stable set search_path from current
as $$ select 'bus_' || 'bus_logs'::regclass::oid $$;

create or replace function bus_clock_us() returns bigint
language sql volatile
as $$ select (extract(epoch from clock_timestamp()) * 1000000)::bigint $$;

-- A new segment of a log whose counter row the caller has locked. Insert-only and dropped as a whole: vacuum has nothing
-- to do in it. Whoever may read the list of segments may read them.
create or replace function bus_open_segment(p_topic text, p_partition int, p_first bigint) returns bigint
language plpgsql volatile set search_path from current
as $$
declare
  id bigint;
  grantee text;
begin
  insert into bus_segments (topic, partition, first_offset) values (p_topic, p_partition, p_first)
    returning segment_id into id;
  execute format(
    'create table %I ("position" bigint primary key, taken_us bigint not null, key text, event_id text, '
    'encoding smallint not null, data bytea not null) with (autovacuum_enabled = false)', 'bus_segment_' || id);
  for grantee in
    select case when a.grantee = 0 then 'public' else a.grantee::regrole::text end
      from pg_class c, aclexplode(c.relacl) a
      where c.oid = 'bus_segments'::regclass and a.privilege_type = 'SELECT' and a.grantee <> c.relowner
  loop
    execute format('grant select on %I to %s', 'bus_segment_' || id, grantee);
  end loop;
  return id;
end
$$;

-- Where a transaction that appended to a log keeps the log's counters until it ends.
create or replace function bus_log_setting(p_topic text, p_log int) returns text
language sql stable set search_path from current
as $$ select 'mdp.bus_log_' || md5('bus_logs'::regclass::oid || ' ' || p_log || ' ' || p_topic) $$;

-- Appends records to some logs of a topic and returns the first offset in each. The arrays hold the records of the first
-- log, then those of the second, p_counts of each; logs ascend, so that two appends cannot deadlock. p_segment_*: a
-- segment takes no more than that, a larger batch excepted.
--
-- The first append of a transaction updates the counters, which locks the log until the commit. Further ones count in a
-- setting of the transaction, and a deferred trigger writes it: a row that one transaction updates n times has n versions,
-- none of which can go before the commit, and each update passes all of them.
create or replace function bus_append(
  p_topic text, p_partitions int[], p_counts int[], p_keys text[], p_event_ids text[], p_encodings smallint[],
  p_data bytea[], p_segment_rows bigint, p_segment_bytes bigint
) returns bigint[]
language plpgsql volatile set search_path from current
as $$
declare
  log bus_logs;
  setting text;
  firsts bigint[] := '{}';
  total constant int := cardinality(p_data);
  -- 40: about what a row costs beside its values
  bytes_a_row constant bigint :=
    (pg_column_size(p_data) + pg_column_size(p_keys) + pg_column_size(p_event_ids)) / greatest(total, 1) + 40;
  before int := 0;
  many int;
  base bigint;
  now_us bigint;
  is_first boolean;
  is_stale boolean;
begin
  for i in 1 .. cardinality(p_partitions) loop
    many := p_counts[i];
    if i > 1 and p_partitions[i] <= p_partitions[i - 1] then
      raise exception 'partitions must ascend' using errcode = 'invalid_parameter_value';
    end if;
    setting := bus_log_setting(p_topic, p_partitions[i]);
    log := nullif(current_setting(setting, true), '')::bus_logs;
    is_first := log.next_offset is null;
    if is_first then
      loop
        update bus_logs
          set next_offset = next_offset + many, segment_rows = segment_rows + many,
              segment_bytes = segment_bytes + many * bytes_a_row
          where topic = p_topic and partition = p_partitions[i]
          returning * into log;
        exit when found;
        insert into bus_logs (topic, partition) values (p_topic, p_partitions[i]) on conflict do nothing;
      end loop;
    else
      log.next_offset := log.next_offset + many;
      log.segment_rows := log.segment_rows + many;
      log.segment_bytes := log.segment_bytes + many * bytes_a_row;
    end if;
    base := log.next_offset - many;
    now_us := bus_clock_us();
    is_stale := false;
    if log.segment_id is null
      or ((log.segment_rows > p_segment_rows or log.segment_bytes > p_segment_bytes) and log.segment_rows > many) then
      update bus_segments set last_offset = base - 1 where segment_id = log.segment_id;
      log.segment_id := bus_open_segment(p_topic, p_partitions[i], base);
      log.segment_rows := many;
      log.segment_bytes := many * bytes_a_row;
      is_stale := true;
    end if;
    if is_first then
      if is_stale then
        update bus_logs
          set segment_id = log.segment_id, segment_rows = log.segment_rows, segment_bytes = log.segment_bytes
          where topic = p_topic and partition = p_partitions[i];
      end if;
      perform set_config(setting, log::text, true);
    elsif log.is_appending then
      perform set_config(setting, log::text, true);
    else
      log.is_appending := true;
      perform set_config(setting, log::text, true);
      -- after the setting: where constraints are immediate its trigger comes at once
      update bus_logs set is_appending = true where topic = p_topic and partition = p_partitions[i];
    end if;
    execute format(
        'insert into %I ("position", taken_us, key, event_id, encoding, data) '
        'select $1 + nth - 1, $2, key, event_id, encoding, data '
        'from unnest($3, $4, $5, $6) with ordinality as u (key, event_id, encoding, data, nth)',
        'bus_segment_' || log.segment_id)
      using base, now_us,
            case when many = total then p_keys else p_keys[before + 1 : before + many] end,
            case when many = total then p_event_ids else p_event_ids[before + 1 : before + many] end,
            case when many = total then p_encodings else p_encodings[before + 1 : before + many] end,
            case when many = total then p_data else p_data[before + 1 : before + many] end;
    before := before + many;
    firsts := firsts || base;
  end loop;
  if exists (select from bus_waits w where w.topic = p_topic and w.until > clock_timestamp()) then
    perform pg_notify(bus_channel(), p_topic);
  end if;
  return firsts;
end
$$;

-- The counters of a log at the commit of a transaction that appended to it several times.
create or replace function bus_end_append() returns trigger
language plpgsql volatile set search_path from current
as $$
declare
  setting constant text := bus_log_setting(new.topic, new.partition);
  log bus_logs := nullif(current_setting(setting, true), '')::bus_logs;
begin
  update bus_logs
    set next_offset = log.next_offset, segment_id = log.segment_id, segment_rows = log.segment_rows,
        segment_bytes = log.segment_bytes, is_appending = false
    where topic = new.topic and partition = new.partition;
  perform set_config(setting, '', true);
  return null;
end
$$;
do $$
begin
  if not exists (select from pg_trigger where tgrelid = 'bus_logs'::regclass and tgname = 'bus_logs_end_append') then
    create constraint trigger bus_logs_end_append after update on bus_logs deferrable initially deferred
      for each row when (new.is_appending and not old.is_appending) execute function bus_end_append();
  end if;
end
$$;

-- For other programs: one event as JSON text, onto the topic's own log. Returns its offset.
create or replace function bus_publish(p_topic text, p_key text, p_json text) returns bigint
language sql volatile set search_path from current
as $$
  select (bus_append(p_topic, array[0], array[1], array[p_key], array[null::text], array[0::smallint],
                     array[convert_to(p_json, 'UTF8')], 100000, 67108864))[1]
$$;

-- The same for many at once: keys and events in one order. Returns their offsets.
create or replace function bus_publish_many(p_topic text, p_keys text[], p_data text[]) returns setof bigint
language plpgsql volatile set search_path from current
as $$
declare
  total constant int := cardinality(p_data);
  base bigint;
begin
  if cardinality(p_keys) is distinct from total then
    raise exception '% keys and % events', cardinality(p_keys), total using errcode = 'invalid_parameter_value';
  end if;
  if total = 0 then
    return;
  end if;
  base := (bus_append(
    p_topic, array[0], array[total], p_keys, array_fill(null::text, array[total]),
    array_fill(0::smallint, array[total]),
    (select array_agg(convert_to(u.event, 'UTF8') order by u.nth) from unnest(p_data) with ordinality as u (event, nth)),
    100000, 67108864))[1];
  return query select generate_series(base, base + total - 1);
end
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Reading
-- ---------------------------------------------------------------------------------------------------------------------

-- Records of [p_from, p_to] in order, p_limit at most, and no more once p_bytes are reached. next_offset is read before the
-- list of segments, and that before the segments: each statement has a newer snapshot than the one before, and what is
-- below next_offset was committed before it was read. A segment that is dropped meanwhile is passed over.
create or replace function bus_read(
  p_topic text, p_partition int, p_from bigint, p_to bigint, p_limit bigint, p_bytes bigint
) returns table ("position" bigint, taken_us bigint, key text, event_id text, encoding smallint, data bytea)
language plpgsql volatile set search_path from current
as $$
declare
  low bigint;
  high bigint;
  segment record;
  rows_left bigint := p_limit;
  bytes_left bigint := p_bytes;
begin
  select greatest(l.first_offset, p_from), least(l.next_offset - 1, p_to) into low, high
    from bus_logs l where l.topic = p_topic and l.partition = p_partition;
  if low is null or low > high or p_limit < 1 then
    return;
  end if;
  for segment in
    select 'bus_segment_' || s.segment_id as name
      from bus_segments s
      where s.topic = p_topic and s.partition = p_partition and s.first_offset <= high
        and (s.last_offset is null or s.last_offset >= low)
      order by s.first_offset
  loop
    begin
      for "position", taken_us, key, event_id, encoding, data in execute format(
        'select "position", taken_us, key, event_id, encoding, data from %I '
        'where "position" between $1 and $2 order by "position" limit $3', segment.name)
        using low, high, rows_left
      loop
        return next;
        rows_left := rows_left - 1;
        bytes_left := bytes_left - octet_length(data);
        if rows_left = 0 or bytes_left <= 0 then
          return;
        end if;
      end loop;
    exception when undefined_table then
      null;
    end;
  end loop;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Groups
-- ---------------------------------------------------------------------------------------------------------------------

-- Makes what is missing of a group: a partition begins behind its mark (p_marks: what was acknowledged, null: nothing is
-- known), and at the beginning of what is there without one. The counter's lock keeps trimming away; partitions ascend.
create or replace function bus_make_group(p_topic text, p_group text, p_partitions int[], p_marks bigint[]) returns void
language plpgsql volatile set search_path from current
as $$
begin
  for i in 1 .. cardinality(p_partitions) loop
    insert into bus_logs (topic, partition) values (p_topic, p_partitions[i]) on conflict do nothing;
    perform from bus_logs l where l.topic = p_topic and l.partition = p_partitions[i] for update;
    insert into bus_cursors (topic, group_name, partition, next_offset)
      select p_topic, p_group, p_partitions[i], least(greatest(l.first_offset, p_marks[i] + 1), l.next_offset)
        from bus_logs l where l.topic = p_topic and l.partition = p_partitions[i]
      on conflict do nothing;
  end loop;
end
$$;

-- Joins as a member and returns the session that tells this life of it from the one before. Members that died and left
-- nothing behind are forgotten.
create or replace function bus_join(p_topic text, p_group text, p_member text, p_takeover_ms bigint) returns bigint
language plpgsql volatile set search_path from current
as $$
declare
  mine bigint;
begin
  delete from bus_members m
    where m.topic = p_topic and m.group_name = p_group and m.member <> p_member and m.session is not null
      and m.expires_at < clock_timestamp() - interval '1 hour'
      and not exists (
        select from bus_claims c where c.topic = m.topic and c.group_name = m.group_name and c.member = m.member);
  insert into bus_members as m (topic, group_name, member, session, seen_at, alive_since, expires_at)
    values (p_topic, p_group, p_member, bus_clock_us(), clock_timestamp(), '-infinity',
            clock_timestamp() + p_takeover_ms * interval '1 millisecond')
    on conflict (topic, group_name, member) do update
      set session = greatest(coalesce(m.session, 0) + 1, excluded.session), seen_at = excluded.seen_at,
          alive_since = excluded.alive_since, expires_at = excluded.expires_at
    returning m.session into mine;
  return mine;
end
$$;

-- Keeps a member alive and says whether it may take others for dead. Not soon after a silence of its own: the server may
-- have stood still, and the others must be heard first. A fifth of the time is let go between two writes. Raises MDB01
-- when another process joined under its name.
create or replace function bus_renew(p_topic text, p_group text, p_member text, p_session bigint, p_takeover_ms bigint)
returns boolean
language plpgsql volatile set search_path from current
as $$
declare
  takeover constant interval := p_takeover_ms * interval '1 millisecond';
  now constant timestamptz := clock_timestamp();
  mine bus_members;
begin
  select * into mine
    from bus_members m where m.topic = p_topic and m.group_name = p_group and m.member = p_member;
  if mine.session <> p_session then
    raise exception 'another process joined group % of % as member %', p_group, p_topic, p_member
      using errcode = 'MDB01';
  end if;
  if mine.alive_since is null or mine.seen_at < now - takeover / 2 then
    mine.alive_since := now;
  elsif mine.expires_at > now + takeover * 0.8 then
    return mine.alive_since <= now - takeover;
  end if;
  insert into bus_members as m (topic, group_name, member, session, seen_at, alive_since, expires_at)
    values (p_topic, p_group, p_member, p_session, now, mine.alive_since, now + takeover)
    on conflict (topic, group_name, member) do update
      set session = excluded.session, seen_at = excluded.seen_at, alive_since = excluded.alive_since,
          expires_at = excluded.expires_at
      where coalesce(m.session, p_session) = p_session;
  return mine.alive_since <= now - takeover;
end
$$;

-- Hands a range over to a call, at most p_limit records of it: the rest stays what it was. Returns how many.
create or replace function bus_hand_out(
  p_claim bus_claims, p_member text, p_session bigint, p_call bigint, p_limit bigint
) returns bigint
language plpgsql volatile set search_path from current
as $$
declare
  last_given constant bigint := least(p_claim.last_offset, p_claim.first_offset + p_limit - 1);
begin
  if last_given < p_claim.last_offset then
    insert into bus_claims (topic, group_name, partition, first_offset, last_offset, member, session, call, attempts)
      values (p_claim.topic, p_claim.group_name, p_claim.partition, last_given + 1, p_claim.last_offset, p_claim.member,
              p_claim.session, p_claim.call, p_claim.attempts);
  end if;
  update bus_claims
    set last_offset = last_given, member = p_member, session = p_session, call = p_call, attempts = attempts + 1
    where claim_id = p_claim.claim_id;
  return last_given - p_claim.first_offset + 1;
end
$$;

-- Hands up to p_limit records to a member: what it had before (p_own; a range of an older session, or one whose answer
-- never reached it: p_seen is the last call that did), else what others gave back or left when they died (p_left), else
-- new ones. The cursors
-- are locked in order, so members take turns. What it handed out is in bus_claims by session and call. Raises MDB01 as bus_renew() does, and MDB02 when
-- the group does not exist.
create or replace function bus_take(
  p_topic text, p_group text, p_member text, p_session bigint, p_seen bigint, p_call bigint, p_limit bigint,
  p_takeover_ms bigint, p_own boolean, p_left boolean
) returns void
language plpgsql volatile set search_path from current
as $$
declare
  claim bus_claims;
  fresh record;
  rows_left bigint := p_limit;
  others_can_be_dead constant boolean := bus_renew(p_topic, p_group, p_member, p_session, p_takeover_ms);
begin
  perform from bus_cursors c where c.topic = p_topic and c.group_name = p_group order by c.partition for update;
  if not found then
    raise exception 'group % of % does not exist', p_group, p_topic using errcode = 'MDB02';
  end if;
  if p_own then
    for claim in
      select * from bus_claims c
        where c.topic = p_topic and c.group_name = p_group and c.member = p_member
          and (c.session <> p_session or c.call > p_seen)
        order by c.partition, c.first_offset
    loop
      exit when rows_left = 0;
      rows_left := rows_left - bus_hand_out(claim, p_member, p_session, p_call, rows_left);
    end loop;
    if rows_left < p_limit then
      return;
    end if;
  end if;
  if p_left then
    for claim in
      select * from bus_claims c
        where c.topic = p_topic and c.group_name = p_group
          and (c.member is null
               or others_can_be_dead and not exists (
                 select from bus_members m
                   where m.topic = c.topic and m.group_name = c.group_name and m.member = c.member
                     and m.expires_at > clock_timestamp()))
        order by c.partition, c.first_offset
    loop
      exit when rows_left = 0;
      rows_left := rows_left - bus_hand_out(claim, p_member, p_session, p_call, rows_left);
    end loop;
    if rows_left < p_limit then
      return;
    end if;
  end if;
  -- another partition first each time, so that none starves behind a busy one
  for fresh in
    select c.partition, greatest(c.next_offset, l.first_offset) as low, l.next_offset as beyond
      from bus_cursors c join bus_logs l on l.topic = c.topic and l.partition = c.partition
      where c.topic = p_topic and c.group_name = p_group and l.next_offset > c.next_offset
        and l.next_offset > l.first_offset
      order by (c.partition + p_call) % (select count(*) from bus_cursors n where n.topic = p_topic and n.group_name = p_group)
  loop
    exit when rows_left = 0;
    fresh.beyond := least(fresh.beyond, fresh.low + rows_left);
    insert into bus_claims (topic, group_name, partition, first_offset, last_offset, member, session, call, attempts)
      values (p_topic, p_group, fresh.partition, fresh.low, fresh.beyond - 1, p_member, p_session, p_call, 1);
    update bus_cursors c set next_offset = fresh.beyond, updated_at = clock_timestamp()
      where c.topic = p_topic and c.group_name = p_group and c.partition = fresh.partition;
    rows_left := rows_left - (fresh.beyond - fresh.low);
  end loop;
end
$$;

-- Acknowledges ranges, whoever has them; what was acknowledged before is no error. What remains of a claim stays.
create or replace function bus_acknowledge(
  p_topic text, p_group text, p_partitions int[], p_firsts bigint[], p_lasts bigint[]
) returns void
language plpgsql volatile set search_path from current
as $$
begin
  perform from bus_cursors c
    where c.topic = p_topic and c.group_name = p_group and c.partition = any (p_partitions)
    order by c.partition for update;
  with acknowledged as (
    select u.partition, min(u.first) as low, max(u.last) as high, range_agg(int8range(u.first, u.last, '[]')) as ranges
      from unnest(p_partitions, p_firsts, p_lasts) as u (partition, first, last)
      group by u.partition
  ), cut as (
    delete from bus_claims c using acknowledged a
      where c.topic = p_topic and c.group_name = p_group and c.partition = a.partition
        and c.first_offset <= a.high and c.last_offset >= a.low
        and int8range(c.first_offset, c.last_offset, '[]') && a.ranges
      returning c.*, a.ranges
  )
  insert into bus_claims (topic, group_name, partition, first_offset, last_offset, member, session, call, attempts)
    select topic, group_name, partition, lower(piece), upper(piece) - 1, member, session, call, attempts
      from cut, unnest(int8multirange(int8range(first_offset, last_offset, '[]')) - ranges) as piece;
end
$$;

-- A member that ends gives back what it has, for the next one to take at once.
create or replace function bus_leave(p_topic text, p_group text, p_member text, p_session bigint) returns void
language plpgsql volatile set search_path from current
as $$
begin
  perform from bus_cursors c where c.topic = p_topic and c.group_name = p_group order by c.partition for update;
  update bus_claims c set member = null
    where c.topic = p_topic and c.group_name = p_group and c.member = p_member and c.session = p_session;
  delete from bus_members m
    where m.topic = p_topic and m.group_name = p_group and m.member = p_member and m.session = p_session;
  if exists (select from bus_waits w where w.topic = p_topic and w.until > clock_timestamp()) then
    perform pg_notify(bus_channel(), p_topic);
  end if;
end
$$;

-- For a reader that owns a partition: it needs nothing at or below p_offset any more.
create or replace function bus_release(p_topic text, p_group text, p_partition int, p_offset bigint) returns void
language sql volatile set search_path from current
as $$
  update bus_cursors c set next_offset = least(p_offset + 1, l.next_offset), updated_at = clock_timestamp()
    from bus_logs l
    where c.topic = p_topic and c.group_name = p_group and c.partition = p_partition
      and l.topic = c.topic and l.partition = c.partition and c.next_offset < least(p_offset + 1, l.next_offset)
$$;

-- Moves records from one log to others of its topic: appends them and takes the group's cursor on, from where it is expected
-- to be. False, and nothing is done, when it is elsewhere: somebody else moved them.
create or replace function bus_move(
  p_topic text, p_group text, p_log int, p_from bigint, p_to bigint, p_partitions int[], p_counts int[], p_keys text[],
  p_event_ids text[], p_encodings smallint[], p_data bytea[], p_segment_rows bigint, p_segment_bytes bigint
) returns boolean
language plpgsql volatile set search_path from current
as $$
begin
  update bus_cursors c set next_offset = p_to, updated_at = clock_timestamp()
    where c.topic = p_topic and c.group_name = p_group and c.partition = p_log and c.next_offset = p_from;
  if not found then
    return false;
  end if;
  perform bus_append(p_topic, p_partitions, p_counts, p_keys, p_event_ids, p_encodings, p_data, p_segment_rows,
                     p_segment_bytes);
  return true;
end
$$;

-- The lowest offset of a log that a group has not acknowledged, null where it has no cursor.
create or replace function bus_unacknowledged(p_topic text, p_group text, p_partition int) returns bigint
language sql stable set search_path from current
as $$
  select least(c.next_offset,
               (select min(b.first_offset) from bus_claims b
                 where b.topic = c.topic and b.group_name = c.group_name and b.partition = c.partition))
    from bus_cursors c
    where c.topic = p_topic and c.group_name = p_group and c.partition = p_partition
$$;

-- p_group null: all groups of the topic. idle_ms is null when nothing is known of its members.
create or replace function bus_group_status(p_topic text, p_group text default null) returns table (
  group_name text, "partition" int, pending bigint, lag bigint, lag_ms double precision, idle_ms double precision,
  members bigint, acknowledged bigint
)
language sql volatile set search_path from current
as $$
  select c.group_name, c.partition,
         (select coalesce(sum(b.last_offset - b.first_offset + 1), 0)::bigint from bus_claims b
           where b.topic = c.topic and b.group_name = c.group_name and b.partition = c.partition),
         l.next_offset - greatest(c.next_offset, l.first_offset),
         coalesce(greatest(0, (bus_clock_us() - oldest.taken_us) / 1000.0), 0)::float8,
         extract(epoch from clock_timestamp() - greatest(c.updated_at, m.seen_at))::float8 * 1000,
         coalesce(m.living, 0),
         nullif(u.low, 0) - 1
    from bus_cursors c
    join bus_logs l on l.topic = c.topic and l.partition = c.partition
    cross join lateral (select bus_unacknowledged(c.topic, c.group_name, c.partition) as low) u
    left join lateral bus_read(c.topic, c.partition, u.low, l.next_offset - 1, 1, 1) oldest on true
    left join lateral (
      select max(n.seen_at) as seen_at, count(*) filter (where n.expires_at > clock_timestamp()) as living
        from bus_members n where n.topic = c.topic and n.group_name = c.group_name) m on true
    where c.topic = p_topic and (p_group is null or c.group_name = p_group)
    order by c.group_name, c.partition
$$;

create or replace function bus_drop_group(p_topic text, p_group text) returns boolean
language plpgsql volatile set search_path from current
as $$
begin
  perform from bus_cursors c where c.topic = p_topic and c.group_name = p_group order by c.partition for update;
  delete from bus_claims c where c.topic = p_topic and c.group_name = p_group;
  delete from bus_members m where m.topic = p_topic and m.group_name = p_group and m.session is not null;
  delete from bus_cursors c where c.topic = p_topic and c.group_name = p_group;
  return found;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- Trimming
-- ---------------------------------------------------------------------------------------------------------------------

-- The lowest offset that some group of the topic still needs, null when the topic has no group. A group that has not begun
-- with this partition needs all of it. Of several partitions (logs from 1 on), the topic's own log is needed by the groups
-- that are there alone, and all of it while none is.
create or replace function bus_needed(p_topic text, p_partition int) returns bigint
language sql stable set search_path from current
as $$
  select min(case when p_partition > 0 or g.is_own or not g.is_own_log_begun
                  then coalesce(bus_unacknowledged(p_topic, g.group_name, p_partition), 0) end)
    from (select c.group_name, bool_or(c.partition = 0) as is_own, bool_or(c.partition > 0) as is_of_partitions,
                 bool_or(bool_or(c.partition = 0)) over () as is_own_log_begun
            from bus_cursors c where c.topic = p_topic group by c.group_name) g
    where p_partition = 0 or g.is_of_partitions
$$;

-- The first offset that may not be trimmed: what a group needs, and what lies beyond p_acknowledged, or beyond p_unclaimed where
-- there is no group (both are offsets that may go; null: none may). null: nothing may.
create or replace function bus_trim_bound(p_topic text, p_partition int, p_acknowledged bigint, p_unclaimed bigint)
returns bigint
language sql stable set search_path from current
as $$
  select case when n.needed is null then p_unclaimed + 1
              when p_acknowledged is not null then least(n.needed, p_acknowledged + 1) end
    from (select bus_needed(p_topic, p_partition) as needed) n
$$;

-- Trims a log up to there. Returns how many records. Their segments are dropped by bus_drop_segment(). What to trim is looked up
-- without the counter's lock; a group made meanwhile is seen under it. How old records are is not decided here: taken_us is
-- the clock of an earlier time.
drop function if exists bus_trim(text, int, bigint, bigint);
create or replace function bus_trim_to(p_topic text, p_partition int, p_acknowledged bigint, p_unclaimed bigint)
returns bigint
language plpgsql volatile set search_path from current
as $$
declare
  log bus_logs;
  bound bigint := bus_trim_bound(p_topic, p_partition, p_acknowledged, p_unclaimed);
begin
  -- its counters are not up to date before the commit
  if nullif(current_setting(bus_log_setting(p_topic, p_partition), true), '') is not null then
    return 0;
  end if;
  select * into log from bus_logs l where l.topic = p_topic and l.partition = p_partition;
  if bound is null or log.topic is null or bound <= log.first_offset then
    return 0;
  end if;

  select * into log from bus_logs l where l.topic = p_topic and l.partition = p_partition for update;
  bound := bus_trim_bound(p_topic, p_partition, p_acknowledged, p_unclaimed);
  if bound is null then
    return 0;
  end if;
  bound := least(bound, log.next_offset);
  if bound <= log.first_offset then
    return 0;
  end if;
  update bus_logs l set first_offset = bound where l.topic = p_topic and l.partition = p_partition;
  -- an open segment without a record that is needed is closed, so that it can go as well
  if bound = log.next_offset and log.segment_id is not null then
    update bus_segments set last_offset = log.next_offset - 1 where segment_id = log.segment_id;
    update bus_logs l set segment_id = null, segment_rows = 0, segment_bytes = 0
      where l.topic = p_topic and l.partition = p_partition;
  end if;
  return bound - log.first_offset;
end
$$;

-- The segments of a topic that are trimmed as a whole.
create or replace function bus_trimmed_segments(p_topic text) returns setof bigint
language sql stable set search_path from current
as $$
  select s.segment_id
    from bus_segments s join bus_logs l on l.topic = s.topic and l.partition = s.partition
    where s.topic = p_topic and s.last_offset < l.first_offset
    order by s.segment_id
$$;

-- Waits for readers of it no longer than lock_timeout lets it; one at a time, in a transaction of its own.
create or replace function bus_drop_segment(p_segment_id bigint) returns void
language plpgsql volatile set search_path from current
as $$
begin
  delete from bus_segments where segment_id = p_segment_id and last_offset is not null;
  if found then
    execute format('drop table if exists %I', 'bus_segment_' || p_segment_id);
  end if;
end
$$;

-- About what the records of each topic that are not trimmed take on disk: segments count by the share of their offsets.
create or replace function bus_topic_bytes() returns table (topic text, bytes bigint)
language sql volatile set search_path from current
as $$
  select s.topic,
         sum(coalesce(pg_total_relation_size(to_regclass('bus_segment_' || s.segment_id)), 0)
             * greatest(0, n.beyond - greatest(s.first_offset, l.first_offset))::float8
             / greatest(1, n.beyond - s.first_offset))::bigint
    from bus_segments s
    join bus_logs l on l.topic = s.topic and l.partition = s.partition
    cross join lateral (select coalesce(s.last_offset + 1, l.next_offset) as beyond) n
    group by s.topic
$$;

-- What all segments take on disk.
create or replace function bus_bytes() returns bigint
language sql volatile set search_path from current
as $$
  select coalesce(sum(pg_total_relation_size(to_regclass('bus_segment_' || s.segment_id))), 0)::bigint from bus_segments s
$$;

insert into schema_migrations (name) values ('003_bus_log.sql') on conflict (name) do nothing;

commit;
