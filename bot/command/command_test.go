package command_test

import (
	"bufio"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/command"
)

// vectors reads testdata/vectors.txt as pairs of input and expectation.
func vectors(t testing.TB) (pairs [][2]string) {
	t.Helper()
	file, err := os.Open("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		input, want, ok := strings.Cut(line, " => ")
		if !ok {
			t.Fatalf("no => in %q", line)
		}
		pairs = append(pairs, [2]string{unescape(t, input), unescape(t, want)})
	}
	return pairs
}

func unescape(t testing.TB, s string) string {
	t.Helper()
	if !strings.Contains(s, `\`) {
		return s
	}
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(strings.ReplaceAll(s, `\"`, "\x00"), `"`, `\"`) + `"`)
	if err != nil {
		out, err = strconv.Unquote(`"` + s + `"`)
	}
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return strings.ReplaceAll(out, "\x00", `"`)
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v[0], func(t *testing.T) {
			got, err := command.Parse(v[0])
			if part, refused := strings.CutPrefix(v[1], "! "); refused {
				if actions.CodeOf(err) != actions.CodeInvalid || !strings.Contains(actions.Message(err), part) {
					t.Fatalf("want a refusal with %q, got %v (%v)", part, got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != v[1] {
				t.Fatalf("want %s, got %s", v[1], got)
			}
			roundTrip(t, got)
		})
	}
}

func roundTrip(t *testing.T, c bot.Command) {
	t.Helper()
	again, err := command.Parse(c.String())
	if err != nil {
		t.Fatalf("%q does not parse again: %v", c.String(), err)
	}
	if !reflect.DeepEqual(again, c) {
		t.Fatalf("%q parses to %+v, not to %+v", c.String(), again, c)
	}
}

func TestHostileLinesAreRefusedInASentence(t *testing.T) {
	sets := &strings.Builder{}
	for i := range command.MaxSets + 1 {
		sets.WriteString(" --set k" + strconv.Itoa(i) + "=v")
	}
	for name, line := range map[string]string{
		"a line of 64 KB":           "deploy " + strings.Repeat("x", 64<<10),
		"a thousand words":          "deploy" + strings.Repeat(" x", 1000),
		"too many sets":             "deploy" + sets.String(),
		"a huge key":                "deploy --set " + strings.Repeat("k", 2000) + "=v",
		"a huge value":              "deploy --set k=" + strings.Repeat("v", 2000),
		"a huge ref":                "deploy --ref " + strings.Repeat("r", 2000),
		"a huge reason":             "deploy --reason " + strings.Repeat("r", 2000),
		"a huge flag":               "deploy --" + strings.Repeat("f", 2000),
		"a huge verb":               strings.Repeat("deploy", 500),
		"a huge target":             "deploy " + strings.Repeat("a", 2000),
		"nothing but quotes":        strings.Repeat(`"`, 4095),
		"nothing but dashes":        "deploy " + strings.Repeat("-", 4000),
		"a verb with an escape":     "\x1b[31mdeploy",
		"a target turned around":    "deploy shop/\u2067pr-42",
		"a mention in a wrong verb": "@everyone/`<b>",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := command.Parse(line)
			if actions.CodeOf(err) != actions.CodeInvalid {
				t.Fatalf("want CodeInvalid, got %v", err)
			}
			msg := actions.Message(err)
			if len(msg) > 500 || strings.ContainsAny(msg, "\n\x1b") || !strings.HasSuffix(msg, ".") {
				t.Fatalf("not a sentence: %q", msg)
			}
		})
	}
}

func TestHelpKnowsEveryVerb(t *testing.T) {
	all := command.Help("")
	for _, verb := range command.Verbs() {
		if !strings.Contains(all, "`"+verb) {
			t.Errorf("the list does not name %s", verb)
		}
		one := command.Help(verb)
		if !strings.HasPrefix(one, "`"+command.Usage(verb)+"`") {
			t.Errorf("help %s begins with %q", verb, one)
		}
		for _, flag := range command.Flags(verb) {
			if !strings.Contains(one, "--"+flag) {
				t.Errorf("help %s does not name --%s", verb, flag)
			}
			if _, text := command.Flag(flag); text == "" {
				t.Errorf("nothing is said of --%s", flag)
			}
		}
		_, example := command.Long(verb)
		got, err := command.Parse(example)
		if err != nil || got.Verb != verb {
			t.Errorf("the example %q of %s is understood as %v, %v", example, verb, got, err)
		}
	}
	for _, verb := range actions.Verbs() {
		if command.Usage(string(verb)) == "" {
			t.Errorf("the grammar lacks the action %s", verb)
		}
	}
}

func TestHelpIsAsWritten(t *testing.T) {
	golden(t, "testdata/help.md", command.Help("")+"\n\n---\n\n"+command.Help("deploy")+"\n")
}

// golden compares with a file, or writes it when UPDATE is set.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs (UPDATE=1 writes it anew); got:\n%s", path, got)
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v[0])
	}
	f.Fuzz(func(t *testing.T, line string) {
		c, err := command.Parse(line)
		if err != nil {
			if actions.CodeOf(err) != actions.CodeInvalid {
				t.Fatalf("code of %v", err)
			}
			return
		}
		if again, err := command.Parse(c.String()); err != nil || again.String() != c.String() || !maps.Equal(again.Set, c.Set) ||
			!maps.Equal(again.With, c.With) || !slices.Equal(again.Unset, c.Unset) || again.App != c.App {
			t.Fatalf("%q became %+v, whose form %q became %+v, %v", line, c, c.String(), again, err)
		}
	})
}

// TestValuesAreNeverRepeated holds that what somebody gives to set is in no
// answer, also where they wrote it wrong, and in no masked command.
func TestValuesAreNeverRepeated(t *testing.T) {
	const value = "hunter2"
	for _, line := range []string{
		"set TOKEN " + value, "set TOKEN = " + value, "set shop/pr-42 TOKEN " + value, "set " + value + "+", "set TOKEN: " + value, "set shop/pr-42 " + value,
		"set 1TOKEN=" + value, "set TOKEN=" + value + " TOKEN=" + value, "set TOKEN=" + value + " --secret x", "set TOKEN --secret " + value + "+",
		"set " + value + "/x TOKEN=a", "set TOKEN=" + strings.Repeat(value, 1000), "unset TOKEN=" + value, "set TOKEN=\"" + value,
		"set TOKEN=" + value + " --set a=b", "set TOKEN=" + value + " --sceret x", "deploy --reason --set=a=" + value,
	} {
		_, err := command.Parse(line)
		if actions.CodeOf(err) != actions.CodeInvalid {
			t.Errorf("%q: want CodeInvalid, got %v", line, err)
		} else if strings.Contains(actions.Message(err), value) {
			t.Errorf("%q is answered with its value: %s", line, actions.Message(err))
		}
	}
	for _, line := range []string{"set TOKEN=" + value, "set shop/pr-42 A=1 TOKEN='" + value + " b'", "deploy --set a=" + value} {
		c, err := command.Parse(line)
		if err != nil || strings.Contains(c.Masked(), value) || !strings.Contains(c.String(), value) {
			t.Errorf("%q is shown as %q, %v", line, c.Masked(), err)
		}
	}
}
