package aws

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Prices are about what us-east-1 cost in the middle of 2025, in US dollars, on
// demand. They were noted by hand and rounded, and nothing reads AWS's price list:
// they tell how large a sum is, not what it is, and are called a rough estimate
// wherever they are told. Other regions cost up to a third more, and what is
// measured by use (requests, traffic, Aurora's storage and I/O) is left out.
// What counts is at https://aws.amazon.com/secrets-manager/pricing/,
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
		text = append(text, fmt.Sprintf("about $%s a month for %s: a rough estimate by what us-east-1 cost in 2025, without what is measured by use", rough(sum), listed(what)))
	}
	if len(unpriced) > 0 {
		text = append(text, "no price is known for "+listed(unpriced))
	}
	return strings.Join(text, "; ")
}

// rough is a sum with two digits that count, since no more is known of it.
func rough(dollars float64) string {
	const cents = 10
	if dollars < cents {
		return strconv.FormatFloat(dollars, 'f', 2, 64)
	}
	unit := math.Pow(10, math.Floor(math.Log10(dollars))-1)
	return strconv.FormatFloat(math.Round(dollars/unit)*unit, 'f', 0, 64)
}

const (
	// serverlessClass is the class of an Aurora instance that grows with its load.
	serverlessClass = "db.serverless"
	// acuHourly is for one Aurora capacity unit. What is told is the least capacity.
	acuHourly = 0.12
	// gibMonthly is for a GiB of gp3 or gp2 of an instance in one zone.
	gibMonthly = 0.12
)

// classHourly is what an hour of an instance costs, by kind and class: RDS for
// PostgreSQL in one zone, and Aurora Standard. MySQL and MariaDB cost about the
// same; Oracle and SQL Server cost more. It has what previews are made of; a
// class that is not in it is told to have no known price.
var classHourly = map[string]map[string]float64{
	"rds": {
		"db.t4g.micro": 0.016, "db.t4g.small": 0.032, "db.t4g.medium": 0.065, "db.t4g.large": 0.13,
		"db.t3.micro": 0.018, "db.t3.small": 0.036, "db.t3.medium": 0.072,
		"db.m6g.large": 0.16, "db.m7g.large": 0.17, "db.r6g.large": 0.23,
	},
	"aurora": {"db.t4g.medium": 0.073, "db.t4g.large": 0.15, "db.t3.medium": 0.082, "db.r6g.large": 0.26},
}
