package actions

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// Plan says what an order would do, part by part, and changes nothing. Its
// Order has the commit that the ref means now. brief asks the executors for
// what decides the result alone, without diffs: the digest is the same.
//
// Errors: CodeNotFound (the app, the environment, the ref), CodeInvalid (what
// was ordered, or what is configured, makes no sense), CodeConflict (the
// environment's state or a lock does not allow it), and those of executors,
// whose sentences begin with the part's name.
func (r *Runner) Plan(ctx context.Context, order Order, brief bool) (*Plan, error) {
	sc, err := r.scene(ctx, order)
	if err != nil {
		return nil, err
	}
	defer sc.close()
	return r.plan(ctx, sc, brief)
}

// plan asks the executors.
func (r *Runner) plan(ctx context.Context, sc *scene, brief bool) (*Plan, error) {
	p := &Plan{Order: sc.order, Namespace: sc.namespace, MadeAt: r.clock(), Parts: []PartPlan{}}
	if sc.order.Verb != VerbExtend {
		parts, err := r.planParts(ctx, sc, brief)
		if err != nil {
			return nil, err
		}
		p.Parts = parts
	}
	for _, part := range p.Parts {
		p.Destructive = p.Destructive || part.Destructive
		p.Added, p.Removed = p.Added+part.Added, p.Removed+part.Removed
	}
	p.Summary = summary(sc, p)
	var err error
	if p.Basis, err = factsOf(sc, p); err != nil {
		return nil, err
	}
	p.Digest = DigestOf(p.Basis)
	return p, nil
}

// planParts plans all parts side by side.
func (r *Runner) planParts(ctx context.Context, sc *scene, brief bool) ([]PartPlan, error) {
	parts, errs := make([]PartPlan, len(sc.app.Parts)), make([]error, len(sc.app.Parts))
	var wg sync.WaitGroup
	for i, part := range sc.app.Parts {
		wg.Go(func() {
			if parts[i], errs[i] = r.planPart(ctx, sc, part, brief); errs[i] != nil {
				errs[i] = inPart(part.Name, errs[i])
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	if len(parts) > 0 && !slices.ContainsFunc(parts, func(p PartPlan) bool { return p.Summary != leftAlone(p.Use, sc.verb) }) {
		return nil, Errorf("plan", CodeInvalid, "No part of %s can be %s: none of its executors does that.", sc.app.Name, past(sc.verb))
	}
	return parts, nil
}

func (r *Runner) planPart(ctx context.Context, sc *scene, part Part, brief bool) (out PartPlan, err error) {
	const op = "plan.part"
	defer survive(op, &err)
	ex, verb, can, description, err := r.executorOf(ctx, sc, part)
	if err != nil {
		return PartPlan{}, err
	}
	if !can {
		return PartPlan{Part: part.Name, Use: part.Use, Summary: leftAlone(part.Use, sc.verb), Executor: description.Binary}, nil
	}
	step, provisional, err := sc.step(ctx, part, sc.env, verb, "plan/"+part.Name+"/"+string(verb), sc.leniency(func(error) {}))
	if err != nil {
		return PartPlan{}, err
	}
	step.Brief, step.Agreed = brief, maps.Clone(sc.agreed[part.Name])
	out, err = ex.Plan(ctx, step)
	if err != nil {
		return PartPlan{}, typed(op, CodeInternal, err, "Its executor failed without saying why; Berth's log says more.")
	}
	if size := sizeOf(out.Inputs); size > maxInputs {
		// They decide the digest, so that they cannot be cut.
		return PartPlan{}, Errorf(op, CodeInternal, "The executor %s names %d bytes of what decides its step, which is more than %d; that is a fault of the executor.", part.Use, size, maxInputs)
	}
	out.Part, out.Use, out.Executor = part.Name, part.Use, description.Binary
	out.Provisional = out.Provisional || provisional
	out.Added, out.Removed = countLines(out.Diff)
	out.Summary, out.Diff = short(out.Summary, maxLine), shortDiff(out.Diff, maxDiff)
	out.Cost = short(oneLine(out.Cost), maxCost)
	out.Resources, out.ResourcesLeft = resourcesOf(out.Resources, out.ResourcesLeft)
	if out.Summary == "" {
		out.Summary = fmt.Sprintf("%s %s", sc.verb, part.Name)
	}
	return out, nil
}

const (
	// maxDiff is the longest diff of a part that a plan keeps, in bytes. Plans
	// are kept in Redis with their requests, and nobody reads more.
	maxDiff = 512 << 10
	// maxInputs is how much an executor may say of what decides a step, in bytes.
	maxInputs = 64 << 10
	// maxCost is the longest line on what a part asks for, in bytes.
	maxCost = 500
	// maxResources is how many resources of a part a plan names, and
	// maxResourceName how long, in bytes, each word of one may be: names of
	// Kubernetes have up to 253.
	maxResources, maxResourceName = 1000, 256
)

// resourcesOf are the resources that a plan names: all that go, first of all
// those that take data with them, then those that change and those that come,
// as far as there is room. Its second result is how many more there are, left
// of which were not even told.
func resourcesOf(told []Resource, left int) ([]Resource, int) {
	rank := func(r Resource) int {
		switch {
		case r.Destructive:
			return 0
		case r.Change == ResourceDelete:
			return 1
		case r.Change == ResourceUpdate:
			return 2
		}
		return 3
	}
	out := make([]Resource, len(told))
	for i, r := range told {
		if r.Change != ResourceCreate && r.Change != ResourceDelete {
			r.Change = ResourceUpdate // what it is to be cannot be told; something changes
		}
		for _, word := range []*string{&r.Kind, &r.Name, &r.Namespace} {
			*word = short(oneLine(*word), maxResourceName)
		}
		out[i] = r
	}
	slices.SortStableFunc(out, func(a, b Resource) int { return rank(a) - rank(b) })
	if len(out) > maxResources {
		left += len(out) - maxResources
		out = out[:maxResources:maxResources]
	}
	return slices.Clip(out), max(left, 0)
}

// oneLine is text without line breaks and other characters that steer a
// terminal; an executor may not be one to be trusted with them.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, text)
}

// countLines counts the lines that a unified diff adds and takes away. The two
// lines that name the files of each hunk's side are not among them.
func countLines(diff string) (added, removed int) {
	inside, from, to := false, 0, 0 // in a hunk, and how many lines of each side it still has
	for line := range strings.Lines(diff) {
		if inside && from <= 0 && to <= 0 {
			inside = false
		}
		switch {
		case strings.HasPrefix(line, "@@ ") && !inside:
			if from, to = hunkSizes(line); from > 0 || to > 0 {
				inside = true
			}
		case !inside && (strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "+++ ")):
		case strings.HasPrefix(line, "+"):
			added, to = added+1, to-1
		case strings.HasPrefix(line, "-"):
			removed, from = removed+1, from-1
		case !strings.HasPrefix(line, `\`): // a line of both sides
			from, to = from-1, to-1
		}
	}
	return added, removed
}

// hunkSizes reads how many lines of each side a hunk has from its first line:
// "@@ -1,4 +1,5 @@". Sizes that are left out are 1; other text has none.
func hunkSizes(line string) (from, to int) {
	sides := strings.Fields(line)
	if len(sides) < 3 {
		return 0, 0
	}
	size := func(side, sign string) int {
		text, ok := strings.CutPrefix(side, sign)
		if !ok {
			return 0
		}
		_, count, has := strings.Cut(text, ",")
		if !has {
			return 1
		}
		n, err := strconv.Atoi(count)
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	return size(sides[1], "-"), size(sides[2], "+")
}

func sizeOf(m map[string]string) int {
	size := 0
	for k, v := range m {
		size += len(k) + len(v)
	}
	return size
}

// shortDiff is a diff in valid UTF-8, cut after a line to about most bytes, with
// a last line that says how much is missing.
func shortDiff(diff string, most int) string {
	diff = strings.ToValidUTF8(diff, "\uFFFD")
	if len(diff) <= most {
		return diff
	}
	cut := strings.LastIndexByte(diff[:most], '\n') + 1
	if cut == 0 { // a single line that is too long
		return short(diff, most)
	}
	return fmt.Sprintf("%s… %d more bytes are left out.\n", diff[:cut], len(diff)-cut)
}

// leniency is what a cleanup needs: it takes away what is there, be the commit
// gone. Other verbs get nil.
func (sc *scene) leniency(complain func(error)) func(error) {
	if sc.verb == VerbCleanup {
		return complain
	}
	return nil
}

// executor finds a part's executor, and whether it does verb. Every executor
// deploys and cleans up; one that does not archive, restore, restart, sleep or
// wake has nothing for which that would matter, and its part is left alone.
func (r *Runner) executor(ctx context.Context, part Part, verb Verb) (ex Executor, can bool, d Description, err error) {
	const op = "plan.executor"
	if ex, err = r.executors.Executor(ctx, part.Use); err != nil {
		return nil, false, d, typed(op, CodeUnavailable, err, fmt.Sprintf("The executor %s could not be started; Berth's log says why.", part.Use))
	}
	if d, err = ex.Describe(ctx); err != nil {
		return nil, false, d, typed(op, CodeUnavailable, err, fmt.Sprintf("The executor %s did not say what it is.", part.Use))
	}
	verb = stepVerb(d, verb)
	can = slices.Contains(d.Verbs, verb)
	if !can && (verb == VerbDeploy || verb == VerbCleanup) {
		return nil, false, d, Errorf(op, CodeInvalid, "The executor %s cannot %s.", part.Use, verb)
	}
	return ex, can, d, nil
}

func leftAlone(use string, v Verb) string { return fmt.Sprintf("left alone: %s does not %s", use, v) }

// past is a verb as in "cannot be archived".
func past(v Verb) string {
	switch v {
	case VerbArchive, VerbRestore:
		return string(v) + "d"
	case VerbSleep:
		return "put to sleep"
	case VerbWake:
		return "woken"
	default:
		return string(v) + "ed"
	}
}

// summary is one line on the whole.
func summary(sc *scene, p *Plan) string {
	const most = 600
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", sc.order.Verb, sc.order.Env)
	if sc.order.Verb == VerbExtend {
		b.WriteString(sc.extension(p.MadeAt))
	} else if sha := sc.order.Commit.SHA; sha != "" {
		fmt.Fprintf(&b, " at %s", shortSHA(sha))
	}
	for i, part := range p.Parts {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s: %s", sep, part.Part, part.Summary)
	}
	return short(b.String(), most)
}
