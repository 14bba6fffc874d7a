package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// maxDeployments bounds what is read; an Octopod has tens or hundreds.
const maxDeployments = 10_000

// octopodDatabase is what is in an Octopod's database.
type octopodDatabase struct {
	Version     string    // "1": overrides and links in tables of their own; "2": in columns
	Now         time.Time // by the database's clock
	Deployments []octopodDeployment
}

// octopodDeployment is one deployment with all that belongs to it.
type octopodDeployment struct {
	ID         int64
	Name       string
	Tag        string // "" since tags are overrides
	Status     string
	StatusAt   time.Time
	CreatedAt  time.Time
	App        []octopodOverride
	Deployment []octopodOverride
	Links      []octopodLink
	Log        []octopodAction // the oldest first
	Fault      string          // why its row cannot be understood; then the rest is not all there
}

type octopodOverride struct {
	Key, Value string
	Deleted    bool // it takes a default away
}

type octopodLink struct{ Name, URL string }

type octopodAction struct {
	Action string
	At     time.Time
	Took   time.Duration
	Exit   int
}

// columns are the columns of Octopod's tables, with their types.
type columns map[string]map[string]string

func (c columns) has(table string, names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return c[table][name] == "" })
}

// readOctopod reads the database at address, in one read-only transaction that
// sees one state of it. Queries that take longer than limit fail.
func readOctopod(ctx context.Context, address string, limit time.Duration) (*octopodDatabase, error) {
	cfg, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, usageError(errors.New("--postgres is no address of a PostgreSQL database; write it as postgres://USER@HOST/DATABASE"))
	}
	cfg.ConnectTimeout = min(limit, 15*time.Second)
	cfg.RuntimeParams["application_name"] = "berth import octopod"
	cfg.RuntimeParams["default_transaction_read_only"] = "on"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("Octopod's database cannot be reached: %w", err) //nolint:staticcheck // Octopod is a name.
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, explainPostgres(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	ms := strconv.FormatInt(limit.Milliseconds(), 10)
	for _, setting := range []string{"statement_timeout", "lock_timeout"} {
		if _, err := tx.Exec(ctx, "select set_config($1, $2, true)", setting, ms); err != nil {
			return nil, explainPostgres(err)
		}
	}
	db := &octopodDatabase{}
	if err := db.read(ctx, tx); err != nil {
		return nil, explainPostgres(err)
	}
	return db, nil
}

// explainPostgres says what people can do about an error of the database.
func explainPostgres(err error) error {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	switch e.Code { // https://www.postgresql.org/docs/current/errcodes-appendix.html
	case "42501":
		return fmt.Errorf("this user may not read Octopod's tables (%s); grant it SELECT on deployments, deployment_logs and, in version 1, deployment_overrides and deployment_metadata", e.Message)
	case "57014", "55P03":
		return errors.New("Octopod's database did not answer in time; raise --timeout") //nolint:staticcheck // Octopod is a name.
	}
	return fmt.Errorf("Octopod's database refuses: %s (%s)", e.Message, e.Code) //nolint:staticcheck // Octopod is a name.
}

func (db *octopodDatabase) read(ctx context.Context, tx pgx.Tx) error {
	cols, err := readColumns(ctx, tx)
	if err != nil {
		return err
	}
	switch {
	case cols.has("deployments", "id", "name", "status", "status_updated_at", "created_at", "app_overrides", "deployment_overrides", "links"):
		db.Version = "2"
	case cols.has("deployments", "id", "name", "status", "status_updated_at", "created_at", "tag") && cols.has("deployment_overrides", "key", "value", "deployment_id", "scope"):
		db.Version = "1"
	default:
		return errors.New("this is no database of Octopod 1.0 or later: it has no table deployments with the columns that are expected. Is it the right database, and the right search_path?")
	}
	if err := tx.QueryRow(ctx, "select now()").Scan(&db.Now); err != nil {
		return err
	}
	if err := db.readDeployments(ctx, tx, cols); err != nil {
		return err
	}
	byID := map[int64]*octopodDeployment{}
	for i := range db.Deployments {
		byID[db.Deployments[i].ID] = &db.Deployments[i]
	}
	if db.Version == "1" {
		if err := readOverrides(ctx, tx, byID); err != nil {
			return err
		}
		if err := readMetadata(ctx, tx, cols, byID); err != nil {
			return err
		}
	}
	return readLog(ctx, tx, cols, byID)
}

func readColumns(ctx context.Context, tx pgx.Tx) (columns, error) {
	rows, err := tx.Query(ctx, `select table_name, column_name, data_type from information_schema.columns
		where table_schema = any(current_schemas(false)) and table_name in ('deployments', 'deployment_logs', 'deployment_overrides', 'deployment_metadata')`)
	if err != nil {
		return nil, err
	}
	cols := columns{}
	var table, column, kind string
	_, err = pgx.ForEachRow(rows, []any{&table, &column, &kind}, func() error {
		if cols[table] == nil {
			cols[table] = map[string]string{}
		}
		cols[table][column] = kind
		return nil
	})
	return cols, err
}

// moment is a column's time as it can be read and told: one of infinity, or of
// before there were computers, is the beginning of 1970.
func moment(column string) string {
	return fmt.Sprintf("case when %[1]s between '1970-01-01' and '9999-01-01' then %[1]s else 'epoch' end", column)
}

func (db *octopodDatabase) readDeployments(ctx context.Context, tx pgx.Tx, cols columns) error {
	tag, extra := "''", "null::jsonb, null::jsonb, null::jsonb"
	if cols.has("deployments", "tag") {
		tag = "coalesce(tag, '')"
	}
	if db.Version == "2" {
		extra = "app_overrides, deployment_overrides, links"
	}
	rows, err := tx.Query(ctx, fmt.Sprintf(`select id, name, %s, status::text, %s, %s, %s from deployments order by name limit %d`, tag, moment("status_updated_at"), moment("created_at"), extra, maxDeployments+1))
	if err != nil {
		return err
	}
	var d octopodDeployment
	var app, deployment, links []byte
	_, err = pgx.ForEachRow(rows, []any{&d.ID, &d.Name, &d.Tag, &d.Status, &d.StatusAt, &d.CreatedAt, &app, &deployment, &links}, func() (err error) {
		next := d
		if len(db.Deployments) == maxDeployments {
			return fmt.Errorf("there are more than %d deployments, which is more than can be imported", maxDeployments)
		}
		if next.App, err = parseOverrides(app); err == nil {
			next.Deployment, err = parseOverrides(deployment)
		}
		if err == nil {
			next.Links, err = parseLinks(links)
		}
		if err != nil { // one that is broken keeps nobody from the others
			next.Fault = err.Error()
		}
		db.Deployments = append(db.Deployments, next)
		return nil
	})
	return err
}

// readOverrides reads version 1's table. Its scopes were renamed once.
func readOverrides(ctx context.Context, tx pgx.Tx, byID map[int64]*octopodDeployment) error {
	rows, err := tx.Query(ctx, `select deployment_id, key, value, scope::text from deployment_overrides where deployment_id is not null order by id`)
	if err != nil {
		return err
	}
	var id int64
	var o octopodOverride
	var scope string
	_, err = pgx.ForEachRow(rows, []any{&id, &o.Key, &o.Value, &scope}, func() error {
		d := byID[id]
		switch {
		case d == nil:
		case scope == "App" || scope == "ApplicationScope":
			d.App = append(d.App, o)
		default:
			d.Deployment = append(d.Deployment, o)
		}
		return nil
	})
	return err
}

func readMetadata(ctx context.Context, tx pgx.Tx, cols columns, byID map[int64]*octopodDeployment) error {
	if !cols.has("deployment_metadata", "deployment_id", "key", "value") {
		return nil // from before it had links
	}
	order := "id"
	if cols.has("deployment_metadata", "ord") {
		order = "ord, id"
	}
	rows, err := tx.Query(ctx, `select deployment_id, key, value from deployment_metadata order by `+order)
	if err != nil {
		return err
	}
	var id int64
	var l octopodLink
	_, err = pgx.ForEachRow(rows, []any{&id, &l.Name, &l.URL}, func() error {
		if d := byID[id]; d != nil {
			d.Links = append(d.Links, l)
		}
		return nil
	})
	return err
}

// readLog reads what was done, but not what the scripts printed: it is long, and
// may hold secrets.
func readLog(ctx context.Context, tx pgx.Tx, cols columns, byID map[int64]*octopodDeployment) error {
	if !cols.has("deployment_logs", "id", "deployment_id", "action", "exit_code", "created_at") {
		return nil
	}
	took := "0::float8"
	switch cols["deployment_logs"]["duration"] {
	case "interval":
		took = "extract(epoch from duration)::float8"
	case "":
	default: // seconds, before version 2
		took = "duration::float8"
	}
	rows, err := tx.Query(ctx, fmt.Sprintf(`select deployment_id, action, at, took, exit from (
		select deployment_id, coalesce(action::text, '') as action, %s as at, least(greatest(coalesce(%s, 0), 0), %d) as took, exit_code::bigint as exit, id,
			row_number() over (partition by deployment_id order by id desc) as n from deployment_logs) l where n <= %d order by id`, moment("created_at"), took, maxOctopodTook, maxOctopodPast))
	if err != nil {
		return err
	}
	var id, exit int64
	var seconds float64
	var a octopodAction
	_, err = pgx.ForEachRow(rows, []any{&id, &a.Action, &a.At, &seconds, &exit}, func() error {
		if d := byID[id]; d != nil {
			a.Exit, a.Took = int(exit), time.Duration(seconds*float64(time.Second))
			d.Log = append(d.Log, a)
		}
		return nil
	})
	return err
}

// parseOverrides reads version 2's overrides: [["key", {"tag": "ValueAdded",
// "contents": "value"}], …], where the tag ValueDeleted takes a default away.
func parseOverrides(data []byte) ([]octopodOverride, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var pairs [][2]json.RawMessage
	if err := json.Unmarshal(data, &pairs); err != nil {
		return nil, errors.New("its overrides are in a form that is not known")
	}
	var out []octopodOverride
	for _, p := range pairs {
		var key string
		var value struct {
			Tag      string `json:"tag"`
			Contents string `json:"contents"`
		}
		if json.Unmarshal(p[0], &key) != nil || json.Unmarshal(p[1], &value) != nil {
			return nil, errors.New("its overrides are in a form that is not known")
		}
		switch value.Tag {
		case "ValueAdded":
			out = append(out, octopodOverride{Key: key, Value: value.Contents})
		case "ValueDeleted":
			out = append(out, octopodOverride{Key: key, Deleted: true})
		default:
			return nil, fmt.Errorf("its override %q is a %q, which is not known", key, value.Tag)
		}
	}
	return out, nil
}

// parseLinks reads version 2's links: [{"name": "app", "link": "https://…"}, …].
func parseLinks(data []byte) ([]octopodLink, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var links []struct {
		Name string `json:"name"`
		Link string `json:"link"`
	}
	if err := json.Unmarshal(data, &links); err != nil {
		return nil, errors.New("its links are in a form that is not known")
	}
	var out []octopodLink
	for _, l := range links {
		out = append(out, octopodLink{Name: strings.TrimSpace(l.Name), URL: strings.TrimSpace(l.Link)})
	}
	return out, nil
}
