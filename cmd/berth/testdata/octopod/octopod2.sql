-- The tables as Octopod 2.0 leaves them, with deployments in each state.
create table deployments (
	id bigserial primary key, name text not null unique, tag text not null, created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
	archived_at timestamptz, status text not null, status_updated_at timestamptz not null default now(), checked_at timestamptz not null default now(),
	app_overrides jsonb not null, deployment_overrides jsonb not null, links jsonb not null
);
create table deployment_logs (
	id bigserial primary key, deployment_id bigint not null references deployments, action text, tag text, exit_code smallint not null, created_at timestamptz not null default now(),
	archived boolean not null default false, duration interval not null, stdout text not null default '', stderr text not null default '',
	app_overrides jsonb not null, deployment_overrides jsonb not null
);
insert into deployments (id, name, tag, created_at, status, status_updated_at, app_overrides, deployment_overrides, links) values
	(1, 'orca', 'v7', '2021-03-01T10:00:00Z', 'Running', now(),
		'[["LOG_LEVEL", {"tag": "ValueAdded", "contents": "debug"}], ["web.replicas", {"tag": "ValueDeleted"}]]', '[["memory", {"tag": "ValueAdded", "contents": "1Gi"}]]',
		'[{"name": "app", "link": "https://orca.example.org"}, {"name": "api", "link": "https://api.orca.example.org"}]'),
	(2, 'seal', '', '2021-03-02T10:00:00Z', 'Archived', now(), '[]', '[]', '[]'),
	(3, 'squid', '', '2021-03-02T10:00:00Z', 'CleanupFailed', now(), '[]', '[]', '[]'),
	(4, 'busy', '', '2021-03-02T10:00:00Z', 'CreatePending', now(), '[]', '[]', '[]'),
	(5, 'stuck', '', '2021-03-02T10:00:00Z', 'ArchivePending', now() - interval '2 days', '[]', '[]', '[]'),
	(6, 'Big_Whale', '', '2021-03-02T10:00:00Z', 'Running', now(), '[]', '[]', '[]');
insert into deployment_logs (deployment_id, action, tag, exit_code, created_at, duration, stdout, app_overrides, deployment_overrides) values
	(1, 'create', 'v6', 0, '2021-03-01T10:01:00Z', '60 seconds', 'a secret', '[]', '[]'), (1, 'update', 'v7', 1, '2021-03-05T10:00:00Z', '5 seconds', '', '[]', '[]');
