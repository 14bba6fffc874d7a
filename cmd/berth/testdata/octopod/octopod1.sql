-- The tables as Octopod 1 leaves them, with deployments in each state.
create type statuses as enum ('Running', 'GenericFailure', 'CreatePending', 'UpdatePending', 'ArchivePending', 'Archived', 'TagMismatch', 'PartialAvailability');
create type actions as enum ('create', 'edit', 'update', 'archive', 'restore');
create type scopes as enum ('ApplicationScope', 'DeploymentScope');
create type visibilities as enum ('Private', 'Public');
create table deployments (
	id bigserial primary key, name text not null unique, tag text not null, created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
	archived_at timestamptz, status statuses not null default 'Running', status_updated_at timestamptz not null default now(), checked_at timestamptz not null default now()
);
create table deployment_logs (
	id bigserial primary key, deployment_id bigint not null references deployments, action actions, tag text, exit_code smallint not null, created_at timestamptz not null default now(),
	archived boolean not null default false, duration int not null default 0, stdout text not null default '', stderr text not null default ''
);
create table deployment_overrides (
	id bigserial primary key, key text not null, value text not null, deployment_id bigint references deployments, scope scopes not null, visibility visibilities not null,
	created_at timestamptz not null default now(), updated_at timestamptz not null default now()
);
create table deployment_metadata (
	id bigserial primary key, deployment_id bigint not null references deployments, key text not null, value text not null,
	created_at timestamptz not null default now(), updated_at timestamptz not null default now()
);
insert into deployments (id, name, tag, created_at, status, status_updated_at) values
	(1, 'orca', 'v7', '2021-03-01T10:00:00Z', 'Running', now()),
	(2, 'seal', '', '2021-03-02T10:00:00Z', 'Archived', now()),
	(3, 'squid', '', '2021-03-02T10:00:00Z', 'PartialAvailability', now()),
	(4, 'busy', '', '2021-03-02T10:00:00Z', 'UpdatePending', now()),
	(5, 'stuck', '', '2021-03-02T10:00:00Z', 'ArchivePending', now() - interval '2 days'),
	(6, 'Big_Whale', '', '2021-03-02T10:00:00Z', 'Running', now());
insert into deployment_overrides (key, value, deployment_id, scope, visibility) values
	('LOG_LEVEL', 'debug', 1, 'ApplicationScope', 'Public'), ('memory', '1Gi', 1, 'DeploymentScope', 'Private');
insert into deployment_metadata (deployment_id, key, value) values (1, 'app', 'https://orca.example.org'), (1, 'api', 'https://api.orca.example.org');
insert into deployment_logs (deployment_id, action, tag, exit_code, created_at, duration, stdout) values
	(1, 'create', 'v6', 0, '2021-03-01T10:01:00Z', 60, 'a secret'), (1, 'update', 'v7', 1, '2021-03-05T10:00:00Z', 5, '');
