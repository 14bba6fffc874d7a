package aws

import (
	"strconv"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
)

// changeable refuses settings that AWS cannot give to a database that is there.
func (t *database) changeable(now *dbState) error {
	switch {
	case t.Engine != "" && t.Engine != now.engine:
		return sdk.Invalid("The %s is %s, and AWS cannot make it %s in place. Clean the environment up and deploy again, or leave `engine` as it was.", t.title(), now.engine, clip(t.Engine, 40))
	case t.SubnetGroup != "" && !unknown(t.SubnetGroup) && !strings.EqualFold(t.SubnetGroup, now.subnetGroup):
		return sdk.Invalid("The %s is in subnet group %q, and Berth does not move it to %q in place. Clean the environment up and deploy again, or leave `subnet_group` as it was.", t.title(), now.subnetGroup, clip(t.SubnetGroup, 80))
	case t.Storage > 0 && now.storage > t.Storage && now.maxStorage == 0:
		return sdk.Invalid("The %s has %d GiB, and AWS cannot make that less. Set `storage` to %d or more.", t.title(), now.storage, now.storage)
	case olderVersion(t.Version, now.version):
		return sdk.Invalid("The %s has version %s, and AWS cannot go back to %s. Clean the environment up and deploy again, or leave `version` as it was.", t.title(), now.version, clip(t.Version, 40))
	case t.KMSKey != "" && !sameKey(t.KMSKey, now.kmsKey):
		return t.onlyFresh("kms_key", now.kmsKey, t.KMSKey)
	}
	if from := now.tags[tagFrom]; t.Snapshot != "" && from != "" && !unknown(t.Snapshot) && from != t.Snapshot && !strings.HasSuffix(from, ":"+t.Snapshot) {
		return t.onlyFresh("snapshot", from, t.Snapshot)
	}
	if t.Snapshot != "" || t.From != nil {
		return nil // what is in it, and whose it is, came with the snapshot
	}
	if t.Database != "" && !strings.EqualFold(t.Database, now.database) {
		return t.onlyFresh("database", now.database, t.Database)
	}
	if t.Username != "" && !strings.EqualFold(t.Username, now.username) {
		return t.onlyFresh("username", now.username, t.Username)
	}
	return nil
}

// onlyFresh refuses another value of what AWS takes when a database is made.
func (t *database) onlyFresh(key, now, want string) error {
	return sdk.Invalid("The %s was made with %s %q, and AWS cannot make it %q in place. Clean the environment up and deploy again, or leave `%s` as it was.",
		t.title(), key, now, clip(want, 200), key)
}

// sameKey tells whether want, which is a KMS key's ARN or ID, means the key with
// the ARN now. What an alias means is not known.
func sameKey(want, now string) bool {
	return want == now || strings.Contains(want, "alias/") || unknown(want) || strings.HasSuffix(now, ":key/"+want)
}

// olderVersion tells whether want is before now, number by number.
func olderVersion(want, now string) bool {
	have := strings.Split(now, ".")
	for i, part := range strings.Split(want, ".") {
		w, err := strconv.Atoi(part)
		if err != nil || i >= len(have) {
			return false
		}
		n, err := strconv.Atoi(have[i])
		if err != nil || w != n {
			return err == nil && w < n
		}
	}
	return false
}
