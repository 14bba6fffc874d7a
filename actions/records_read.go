package actions

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-faster/jx"
)

// environmentReader makes environments of their records. It reads what Berth
// writes field by field, without reflection, which is what most of a page of many
// environments costs otherwise. Whatever it does not know or would have to interpret,
// it leaves to encoding/json, the whole record: that says what a record means, and
// what is wrong with one. One goroutine uses it at a time.
type environmentReader struct {
	d    jx.Decoder
	text string
	buf  []byte // text, for d
}

// errUnusual says that a record is to be read by encoding/json.
var errUnusual = errors.New("not as Berth writes it")

// read makes an environment of its record.
func (r *environmentReader) read(text string) (*Environment, error) {
	if e := r.quick(text); e != nil {
		return e, nil
	}
	var e *Environment
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return nil, err
	}
	if e == nil {
		return nil, errors.New("it is null")
	}
	return e, nil
}

// named reads the record of the environment that is called name. A record that is
// about another, or about none, is not one.
func (r *environmentReader) named(op, name, text string) (*Environment, error) {
	e, err := r.read(text)
	if err == nil && e.Name.String() != name {
		err = fmt.Errorf("it is about %q", clip(e.Name.String()))
	}
	if err != nil {
		return nil, Wrap(op, CodeInternal, err, fmt.Sprintf("The record of %s cannot be read.", name))
	}
	return e, nil
}

// quick is read for what Berth writes; nil for anything else.
func (r *environmentReader) quick(text string) *Environment {
	if !utf8.ValidString(text) {
		return nil
	}
	r.text, r.buf = text, append(r.buf[:0], text...)
	r.d.ResetBytes(r.buf)
	e := new(Environment)
	if object(r, e, environmentField) != nil || !errors.Is(r.d.Skip(), io.EOF) {
		return nil
	}
	// The text is no longer kept by what somebody keeps as a key.
	e.Name = Name{App: strings.Clone(e.Name.App), Env: strings.Clone(e.Name.Env)}
	return e
}

// piece is b as a part of the text, so that a record's strings need no memory of
// their own, but for those that were escaped.
func (r *environmentReader) piece(b []byte) string {
	if at := cap(r.buf) - cap(b); len(b) > 0 && at >= 0 && at+len(b) <= len(r.buf) && &r.buf[at] == &b[0] {
		return r.text[at : at+len(b)]
	}
	return string(b)
}

func text[T ~string](r *environmentReader, to *T) error {
	b, err := r.d.StrBytes()
	if err == nil {
		*to = T(r.piece(b))
	}
	return err
}

func number[T ~int | ~int64](r *environmentReader, to *T) error {
	n, err := r.d.Int64()
	if *to = T(n); int64(*to) != n {
		return errUnusual
	}
	return err
}

func truth(r *environmentReader, to *bool) (err error) {
	*to, err = r.d.Bool()
	return err
}

func moment(r *environmentReader, to *time.Time) error {
	raw, err := r.d.Raw()
	if err != nil {
		return err
	}
	return to.UnmarshalJSON(raw)
}

// field reads one field of a T.
type field[T any] func(r *environmentReader, to *T, name string) error

func object[T any](r *environmentReader, to *T, one field[T]) error {
	fields, err := r.d.ObjIter()
	if err != nil {
		return err
	}
	for fields.Next() {
		if err := one(r, to, r.piece(fields.Key())); err != nil {
			return err
		}
	}
	return fields.Err()
}

// pointer reads an object that is not there yet.
func pointer[T any](r *environmentReader, to **T, one field[T]) error {
	if *to != nil {
		return errUnusual
	}
	*to = new(T)
	return object(r, *to, one)
}

// texts and objects read maps that are not there yet.
func texts[M ~map[string]string](r *environmentReader, to *M) error {
	return entries(r, to, text[string])
}

func objects[T any](r *environmentReader, to *map[string]T, one field[T]) error {
	return entries(r, to, func(r *environmentReader, v *T) error { return object(r, v, one) })
}

func entries[M ~map[string]T, T any](r *environmentReader, to *M, value func(*environmentReader, *T) error) error {
	if *to != nil {
		return errUnusual
	}
	fields, err := r.d.ObjIter()
	if err != nil {
		return err
	}
	m := make(M)
	for fields.Next() {
		var v T
		key := r.piece(fields.Key())
		if err := value(r, &v); err != nil {
			return err
		}
		m[key] = v
	}
	*to = m
	return fields.Err()
}

// list reads a list that is not there yet.
func list[T any](r *environmentReader, to *[]T, value func(*environmentReader, *T) error) error {
	if *to != nil {
		return errUnusual
	}
	items, err := r.d.ArrIter()
	if err != nil {
		return err
	}
	*to = []T{}
	for items.Next() {
		var v T
		if err := value(r, &v); err != nil {
			return err
		}
		*to = append(*to, v)
	}
	return items.Err()
}

func environmentField(r *environmentReader, e *Environment, name string) error {
	switch name {
	case "environment":
		return object(r, &e.Name, nameField)
	case "state":
		return text(r, &e.State)
	case "repo":
		return text(r, &e.Repo)
	case "pull_request":
		return number(r, &e.PullRequest)
	case "owner":
		return object(r, &e.Owner, ownerField)
	case "namespace":
		return text(r, &e.Namespace)
	case "cluster":
		return text(r, &e.Cluster)
	case "commit":
		return object(r, &e.Commit, commitField)
	case "ref":
		return text(r, &e.Ref)
	case "set":
		return texts(r, &e.Set)
	case "vars":
		return texts(r, &e.Vars)
	case "components":
		return objects(r, &e.Components, builtField)
	case "overrides":
		return objects(r, &e.Overrides, overrideField)
	case "deployed":
		return number(r, &e.Deployed)
	case "first_revision":
		return number(r, &e.FirstRevision)
	case "links":
		return list(r, &e.Links, func(r *environmentReader, l *Link) error { return object(r, l, linkField) })
	case "url":
		return text(r, &e.URL)
	case "parts":
		return objects(r, &e.Parts, partField)
	case "last_action":
		return pointer(r, &e.LastAction, lastActionField)
	case "run_id":
		return text(r, &e.RunID)
	case "sleeping":
		return truth(r, &e.Sleeping)
	case "slept_by":
		return text(r, &e.SleptBy)
	case "mixed":
		return truth(r, &e.Mixed)
	case "has_archive":
		return truth(r, &e.HasArchive)
	case "lock":
		return pointer(r, &e.Lock, lockField)
	case "created_at":
		return moment(r, &e.CreatedAt)
	case "updated_at":
		return moment(r, &e.UpdatedAt)
	case "used_at":
		return moment(r, &e.UsedAt)
	case "ttl":
		return number(r, &e.TTL)
	case "keep":
		return truth(r, &e.Keep)
	case "expires_at":
		return moment(r, &e.ExpiresAt)
	case "revision":
		return number(r, &e.Revision)
	case "fence":
		return number(r, &e.Fence)
	}
	return errUnusual
}

func nameField(r *environmentReader, n *Name, name string) error {
	switch name {
	case "app":
		return text(r, &n.App)
	case "name":
		return text(r, &n.Env)
	}
	return errUnusual
}

func ownerField(r *environmentReader, o *Owner, name string) error {
	switch name {
	case "actor":
		return text(r, &o.Actor)
	case "identity":
		return text(r, &o.Identity)
	}
	return errUnusual
}

func commitField(r *environmentReader, c *Commit, name string) error {
	switch name {
	case "sha":
		return text(r, &c.SHA)
	case "message":
		return text(r, &c.Message)
	case "author":
		return text(r, &c.Author)
	case "time":
		return moment(r, &c.Time)
	case "fork":
		return truth(r, &c.Fork)
	}
	return errUnusual
}

func builtField(r *environmentReader, b *Built, name string) error {
	switch name {
	case "repo":
		return text(r, &b.Repo)
	case "pull_request":
		return number(r, &b.PullRequest)
	case "ref":
		return text(r, &b.Ref)
	case "commit":
		return object(r, &b.Commit, commitField)
	}
	return errUnusual
}

func overrideField(r *environmentReader, o *Override, name string) error {
	switch name {
	case "value":
		return text(r, &o.Value)
	case "secret":
		return text(r, &o.Secret)
	case "by":
		return text(r, &o.By)
	case "at":
		return moment(r, &o.At)
	}
	return errUnusual
}

func linkField(r *environmentReader, l *Link, name string) error {
	switch name {
	case "name":
		return text(r, &l.Name)
	case "url":
		return text(r, &l.URL)
	}
	return errUnusual
}

func partField(r *environmentReader, p *PartStatus, name string) error {
	switch name {
	case "use":
		return text(r, &p.Use)
	case "state":
		return text(r, &p.State)
	case "health":
		return text(r, &p.Health)
	case "text":
		return text(r, &p.Text)
	case "outputs":
		return texts(r, &p.Outputs)
	case "drift":
		return list(r, &p.Drift, text[string])
	case "at":
		return moment(r, &p.At)
	}
	return errUnusual
}

func lastActionField(r *environmentReader, a *LastAction, name string) error {
	switch name {
	case "verb":
		return text(r, &a.Verb)
	case "request_id":
		return text(r, &a.RequestID)
	case "run_id":
		return text(r, &a.RunID)
	case "commit":
		return object(r, &a.Commit, commitField)
	case "state":
		return text(r, &a.State)
	case "error":
		return text(r, &a.Error)
	case "left":
		return text(r, &a.Left)
	case "by":
		return text(r, &a.By)
	case "at":
		return moment(r, &a.At)
	}
	return errUnusual
}

func lockField(r *environmentReader, l *Lock, name string) error {
	switch name {
	case "by":
		return text(r, &l.By)
	case "reason":
		return text(r, &l.Reason)
	case "at":
		return moment(r, &l.At)
	}
	return errUnusual
}
