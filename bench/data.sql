-- The database: three tables, at scale 1 about 930 MB as COPY text and 5.7 million rows; always the same rows.
-- Run by psql with -v scale=1.0; beside it, events.sql makes the third.

-- Narrow rows that compress to next to nothing, as `pgbench -i` makes them.
create table pgbench_accounts (aid int primary key, bid int, abalance int, filler char(84));
insert into pgbench_accounts
select aid, (aid - 1) / 100000 + 1, 0, '' from generate_series(1, (4000000 * :scale)::int) aid;

-- Bytes that do not compress: digests.
create table images (id int primary key, bytes bytea not null);
insert into images
select id, sha512((id || 'a')::bytea) || sha512((id || 'b')::bytea) || sha512((id || 'c')::bytea) || sha512((id || 'd')::bytea)
from generate_series(1, (200000 * :scale)::int) id;
