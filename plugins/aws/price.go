package aws

import (
	"fmt"
	"strings"
)

// Prices are US dollars for us-east-1, on demand, taken over by hand; other
// regions cost up to a third more, and what is measured by use (requests,
// traffic, Aurora's storage and I/O) is left out. They are a hint of size in a
// plan, and are called an estimate wherever they are told.
// Sources, as of June 2025: https://aws.amazon.com/secrets-manager/pricing/,
// https://aws.amazon.com/rds/postgresql/pricing/ and
// https://aws.amazon.com/rds/aurora/pricing/.
const (
	hoursOfMonth  = 730.0
	secretMonthly = 0.40 // for each secret
)

// costOf is the cost of all things of a part in one line, "" when nothing is
// known of it.
func costOf(p *part, proposals []proposal) string {
	sum, known := 0.0, false
	var what []string
	var unpriced []string
	for i, one := range proposals {
		switch {
		case one.monthly > 0:
			known = true
			sum += one.monthly
			what = append(what, one.asks)
		case one.asks != "":
			unpriced = append(unpriced, p.units[i].kind.name+" ("+one.asks+")")
		}
	}
	if !known && len(unpriced) == 0 {
		return ""
	}
	var text []string
	if known {
		text = append(text, fmt.Sprintf("about $%.2f a month for %s: an estimate by list prices of us-east-1 in June 2025, without what is measured by use", sum, listed(what)))
	}
	if len(unpriced) > 0 {
		text = append(text, "no price is known for "+listed(unpriced))
	}
	return strings.Join(text, "; ")
}

const (
	// serverlessClass is the class of an Aurora instance that grows with its load.
	serverlessClass = "db.serverless"
	// acuHourly is for one Aurora capacity unit. What is told is the least capacity.
	acuHourly = 0.12
	// gibMonthly is for a GiB of gp3 or gp2 of an instance in one zone.
	gibMonthly = 0.115
)

// classHourly is what an hour of an instance costs, by kind and class: RDS for
// PostgreSQL in one zone, and Aurora Standard. MySQL and MariaDB cost about the
// same; Oracle and SQL Server cost more.
var classHourly = map[string]map[string]float64{
	"rds": {
		"db.t4g.micro": 0.016, "db.t4g.small": 0.032, "db.t4g.medium": 0.065, "db.t4g.large": 0.129, "db.t4g.xlarge": 0.258, "db.t4g.2xlarge": 0.517,
		"db.t3.micro": 0.018, "db.t3.small": 0.036, "db.t3.medium": 0.072, "db.t3.large": 0.145,
		"db.m6g.large": 0.159, "db.m6g.xlarge": 0.318, "db.m6g.2xlarge": 0.636,
		"db.m7g.large": 0.168, "db.m7g.xlarge": 0.337, "db.m7g.2xlarge": 0.673,
		"db.r6g.large": 0.225, "db.r6g.xlarge": 0.450, "db.r6g.2xlarge": 0.899,
	},
	"aurora": {
		"db.t4g.medium": 0.073, "db.t4g.large": 0.146, "db.t3.medium": 0.082, "db.t3.large": 0.164,
		"db.r6g.large": 0.260, "db.r6g.xlarge": 0.519, "db.r6g.2xlarge": 1.038,
	},
}
