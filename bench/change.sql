-- A day of use: 1% new rows in every table, and 0.1% of the events changed at random.
-- Run by psql with -v scale=1.0.
set max_parallel_workers_per_gather = 0;
select setseed(0.25);

insert into pgbench_accounts
select (4000000 * :scale)::int + aid, bid, abalance, filler
from pgbench_accounts where aid <= 40000 * :scale;

insert into events
select (1500000 * :scale)::int + id, account + 1, at + interval '127 days', kind, tags,
       body || jsonb_build_object('session', to_hex((random() * 1e15)::bigint)), note
from events where id <= 15000 * :scale;

insert into images
select (200000 * :scale)::int + id, sha512(bytes) || sha512(bytes || 'b') || sha512(bytes || 'c') || sha512(bytes || 'd')
from images where id <= 2000 * :scale;

update events set body = body || '{"seen": true}'
where id in (select 1 + floor(random() * 1500000 * :scale)::int from generate_series(1, (1500 * :scale)::int));
