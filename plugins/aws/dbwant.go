package aws

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// dbWant is what a database is to be like. What is nil, zero or "" is left as it
// is, or to AWS.
type dbWant struct {
	class, version, parameterGroup string
	subnetGroup                    string // only where a database begins
	storageType                    string
	port                           int32
	storage, maxStorage            int32 // GiB
	securityGroups                 []string
	backupDays                     *int32
	multiAZ, public, protected     *bool
	instances                      int32
	minCapacity, maxCapacity       float64
}

// fresh is what a new database is to be like.
func (t *database) fresh() dbWant {
	w := t.wanted(nil)
	if w.class == "" {
		w.class = dbClasses[t.kind]
	}
	if w.backupDays == nil {
		one := int32(1)
		w.backupDays = &one
	}
	return w
}

// dbClasses are the classes of databases whose settings name none: the smallest.
var dbClasses = map[string]string{"rds": "db.t4g.micro", "aurora": serverlessClass}

// wanted is what the settings say of a database that is there.
func (t *database) wanted(now *dbState) dbWant {
	public := t.Public
	w := dbWant{
		class: t.Class, version: t.Version, parameterGroup: t.ParameterGroup, subnetGroup: t.SubnetGroup, storage: t.Storage, maxStorage: t.MaxStorage,
		securityGroups: t.SecurityGroups, backupDays: t.BackupDays, multiAZ: t.MultiAZ, public: &public, protected: t.DeletionProtection,
		port: t.Port, storageType: t.StorageType, instances: t.Instances, minCapacity: t.MinCapacity, maxCapacity: t.MaxCapacity,
	}
	if now != nil && now.storage > w.storage {
		w.storage = 0 // AWS has made it larger by itself, or changeable refuses it
	}
	return w
}

// dbChange is what has to change; nil and "" stay.
type dbChange struct {
	class, version, parameterGroup  string
	storageType                     string
	port                            int32
	storage, maxStorage, backupDays *int32
	securityGroups                  []string
	multiAZ, public, protected      *bool
	minCapacity, maxCapacity        float64
	password, copyTags              bool

	told       []string
	memberTold []string // what members changes, not modify
}

// change is how now differs from w. Class and public access of a cluster are a
// matter of its instances, which members sees to.
func (w dbWant) change(now *dbState) dbChange {
	var c dbChange
	tell := func(what string, from, to any) { c.told = append(c.told, fmt.Sprintf("%s %v → %v", what, from, to)) }
	if w.class != "" && w.class != now.class && now.class != "" {
		c.class = w.class
		tell("class", now.class, w.class)
	}
	if w.instances > 0 && now.cluster && now.instances != w.instances {
		tell("instances", now.instances, w.instances)
	}
	if w.public != nil && *w.public != now.public && (!now.cluster || now.instances > 0) {
		c.public = w.public
		tell("public access", now.public, *w.public)
	}
	if now.cluster { // so far these are its instances' own
		c.class, c.public, c.memberTold, c.told = "", nil, c.told, nil
	}
	if w.version != "" && !sameVersion(w.version, now.version) {
		c.version = w.version
		tell("version", now.version, w.version)
	}
	if w.port != 0 && now.port != 0 && w.port != now.port {
		c.port = w.port
		tell("port", now.port, w.port)
	}
	if w.storageType != "" && now.storageType != "" && w.storageType != now.storageType {
		c.storageType = w.storageType
		tell("sort of storage", now.storageType, w.storageType)
	}
	if w.parameterGroup != "" && !strings.EqualFold(w.parameterGroup, now.parameterGroup) {
		c.parameterGroup = w.parameterGroup
		tell("parameter group", now.parameterGroup, w.parameterGroup)
	}
	if w.storage > now.storage {
		c.storage = &w.storage
		tell("storage", fmt.Sprint(now.storage, " GiB"), fmt.Sprint(w.storage, " GiB"))
	}
	if w.maxStorage > 0 && w.maxStorage != now.maxStorage {
		c.maxStorage = &w.maxStorage
		tell("most storage", fmt.Sprint(now.maxStorage, " GiB"), fmt.Sprint(w.maxStorage, " GiB"))
	}
	if len(w.securityGroups) > 0 && !sameSet(w.securityGroups, now.securityGroups) {
		c.securityGroups = w.securityGroups
		tell("security groups", listed(now.securityGroups), listed(w.securityGroups))
	}
	if w.backupDays != nil && *w.backupDays != now.backupDays {
		c.backupDays = w.backupDays
		tell("days of backups", now.backupDays, *w.backupDays)
	}
	for _, f := range []struct {
		what string
		want *bool
		now  bool
		set  **bool
	}{
		{"several zones", w.multiAZ, now.multiAZ, &c.multiAZ}, {"deletion protection", w.protected, now.protected, &c.protected},
	} {
		if f.want != nil && *f.want != f.now {
			*f.set = f.want
			tell(f.what, f.now, *f.want)
		}
	}
	if w.maxCapacity > 0 && (w.minCapacity != now.minCapacity || w.maxCapacity != now.maxCapacity) {
		c.minCapacity, c.maxCapacity = w.minCapacity, w.maxCapacity
		tell("capacity", fmt.Sprintf("%g to %g ACUs", now.minCapacity, now.maxCapacity), fmt.Sprintf("%g to %g ACUs", w.minCapacity, w.maxCapacity))
	}
	if now.secretARN == "" {
		c.password = true
		c.told = append(c.told, "its password is kept by AWS in Secrets Manager")
	}
	if !now.copiesTags {
		c.copyTags = true
		c.told = append(c.told, "its snapshots get its tags")
	}
	return c
}

func (c dbChange) any() bool       { return len(c.told) > 0 }
func (c dbChange) lines() []string { return append(slices.Clone(c.memberTold), c.told...) }

// sameVersion tells whether a version is the one that is asked for, which may be
// its beginning alone: 16 is 16.4.
func sameVersion(want, now string) bool { return now == want || strings.HasPrefix(now, want+".") }

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// The tags in which an archive's snapshot remembers what AWS does not: what the
// database was like.
const (
	tagWasClass      = "berth:was-class"
	tagWasSubnets    = "berth:was-subnet-group"
	tagWasGroups     = "berth:was-security-groups"
	tagWasParameters = "berth:was-parameter-group"
	tagWasMore       = "berth:was"
)

// memory is what a restore needs to know of a database, as tags, with the name
// of the last snapshot that gets them.
func (d *dbState) memory(last string) map[string]string {
	out := map[string]string{
		tagFinal: last, tagWasClass: d.class, tagWasSubnets: d.subnetGroup, tagWasParameters: d.parameterGroup,
		tagWasGroups: strings.Join(slices.Sorted(slices.Values(d.securityGroups)), " "),
		tagWasMore: fmt.Sprintf("backup=%d multi=%t public=%t protected=%t most=%d instances=%d min=%g max=%g",
			d.backupDays, d.multiAZ, d.public, d.protected, d.maxStorage, d.instances, d.minCapacity, d.maxCapacity),
	}
	for key, value := range out {
		if value == "" {
			delete(out, key)
		}
	}
	return out
}

// remembered is what memory has written. What cannot be read is left to AWS.
func remembered(tags map[string]string) dbWant {
	w := dbWant{
		class: tags[tagWasClass], subnetGroup: tags[tagWasSubnets], parameterGroup: tags[tagWasParameters],
		securityGroups: strings.Fields(tags[tagWasGroups]),
	}
	for _, pair := range strings.Fields(tags[tagWasMore]) {
		key, value, _ := strings.Cut(pair, "=")
		number, numberErr := strconv.ParseFloat(value, 64)
		yes, boolErr := strconv.ParseBool(value)
		switch {
		case numberErr == nil && key == "backup":
			days := int32(number)
			w.backupDays = &days
		case numberErr == nil && key == "most":
			w.maxStorage = int32(number)
		case numberErr == nil && key == "instances":
			w.instances = int32(number)
		case numberErr == nil && key == "min":
			w.minCapacity = number
		case numberErr == nil && key == "max":
			w.maxCapacity = number
		case boolErr == nil && key == "multi":
			w.multiAZ = &yes
		case boolErr == nil && key == "public":
			w.public = &yes
		case boolErr == nil && key == "protected":
			w.protected = &yes
		}
	}
	return w
}
