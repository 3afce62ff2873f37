-- One of three tables: see data.sql. Most of the time that the database takes to make is spent here.
set max_parallel_workers_per_gather = 0; -- parallel workers would draw from sequences of chance of their own
select setseed(0.5);

-- Wide rows: arrays, jsonb and prose, whose words are frequent or rare as words are.
create table events (
    id bigint primary key,
    account int not null,
    at timestamptz not null,
    kind text not null,
    tags text[] not null,
    body jsonb not null,
    note text not null
);

create function pg_temp.vocabulary() returns text[] language sql as $$
    select array_agg(a || b || c order by md5(a || b || c))
    from unnest('{ba,de,ki,lo,mu,ra,se,ti,vo,ny}'::text[]) a,
         unnest('{n,r,st,l,m,nd}'::text[]) b,
         unnest('{a,er,ing,o,um,y}'::text[]) c
$$;

insert into events
select id,
       1 + floor(random() * 4000000 * :scale),
       '2026-01-01 00:00Z'::timestamptz + id * interval '7.3 seconds',
       kinds[1 + floor(6 * random())],
       array[w[1 + floor(40 * random())], w[1 + floor(40 * random())], w[1 + floor(360 * random())]],
       jsonb_build_object(
           'session', to_hex((random() * 1e15)::bigint),
           'price', round((random() * 500)::numeric, 2),
           'path', '/' || w[1 + floor(360 * random())] || '/' || w[1 + floor(360 * random())],
           'agent', agents[1 + floor(4 * random())],
           'mobile', random() < 0.6),
       concat_ws(' ',
           w[1 + floor(360 * random() * random())], w[1 + floor(360 * random() * random())],
           w[1 + floor(360 * random() * random())], w[1 + floor(360 * random() * random())],
           w[1 + floor(360 * random() * random())], w[1 + floor(360 * random() * random())],
           w[1 + floor(360 * random() * random())], w[1 + floor(360 * random() * random())],
           w[1 + floor(360 * random() * random())], w[1 + floor(360 * random() * random())],
           w[1 + floor(360 * random() * random())], w[1 + floor(360 * random() * random())])
from generate_series(1, (1500000 * :scale)::int) id,
     (select pg_temp.vocabulary() as w,
             '{view,click,order,return,login,logout}'::text[] as kinds,
             array['Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
                   'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X)',
                   'Mozilla/5.0 (Windows NT 10.0; Win64; x64)',
                   'curl/8.9.1'] as agents
      offset 0) constants; -- offset 0: made once, not once a row
create index on events (account, at);
