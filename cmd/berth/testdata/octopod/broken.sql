-- The tables as later versions of Octopod 2 leave them, with rows that nobody expects.
create table deployments (
	id bigserial primary key, name text not null unique, created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
	archived_at timestamptz, status text not null, status_updated_at timestamptz not null default now(), checked_at timestamptz not null default now(),
	app_overrides jsonb not null, deployment_overrides jsonb not null, links jsonb not null
);
create table deployment_logs (
	id bigserial primary key, deployment_id bigint not null references deployments, action text, exit_code smallint not null, created_at timestamptz not null default now(),
	archived boolean not null default false, duration interval not null, stdout text not null default '', stderr text not null default '',
	app_overrides jsonb not null, deployment_overrides jsonb not null
);
insert into deployments (name, created_at, status, status_updated_at, app_overrides, deployment_overrides, links) values
	('ancient', '-infinity', 'Archived', 'infinity', '[]', '[]', '[]'),
	('bc', '0044-03-15 BC', 'Archived', now(), '[]', '[]', '[]'),
	('future', '2100-01-01', 'Running', '2100-01-01', '[]', '[]', '[]'),
	('linked', '2021-03-02T10:00:00Z', 'Running', now(), '[]', '[]',
		'[{"name": "script", "link": "javascript:alert(1)"}, {"name": "app", "link": "https://ok.example.org"}, {"name": "none", "link": ""}]'),
	('shape', '2021-03-02T10:00:00Z', 'Running', now(), '{"a": 1}', '[]', '[]'),
	('keyed', '2021-03-02T10:00:00Z', 'Running', now(), '[["a b; rm", {"tag": "ValueAdded", "contents": "$(x)"}]]', '[]', '[]'),
	('odd', '2021-03-02T10:00:00Z', E'Od\x1b[1md', now(), '[]', '[]', '[]'),
	(E'e\x1b[31m\nx', '2021-03-02T10:00:00Z', 'Running', now(), '[]', '[]', '[]');
insert into deployment_logs (deployment_id, action, exit_code, created_at, duration, stdout, app_overrides, deployment_overrides) values
	(1, 'archive', 0, 'infinity', '-5 years', repeat('x', 1000000), '[]', '[]'), (1, null, 0, '2100-01-01', '5000 years', '', '[]', '[]'), (1, 'restore', 0, '2021-03-03T10:00:00Z', '5000 years', '', '[]', '[]');
