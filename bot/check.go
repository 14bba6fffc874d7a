package bot

// Check is one thing that `berth doctor` and /readyz look at.
type Check struct {
	Name   string `json:"name"` // "redis", "github", "plugin helm", "cluster staging"
	OK     bool   `json:"ok"`
	Needed bool   `json:"needed"`           // whether Berth is not ready without it
	Detail string `json:"detail,omitempty"` // version, address, latency, or what is wrong
	Fix    string `json:"fix,omitempty"`    // what to do when not OK
	Paste  string `json:"paste,omitempty"`  // text to use for it as it is, such as the YAML of a role
}
