package cli

import (
	"slices"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// flagsAnywhere orders a command line as the flag parser wants it, which takes
// whatever follows the first argument for an argument: the global flags before
// the command's name, and the command's own before its arguments. So that
// "cxtp handover SESSION --to sg2 --json" means what it says.
func flagsAnywhere(app *urfave.App, line []string) []string {
	var global, local, arguments []string
	var command *urfave.Command
	for i := 1; i < len(line); i++ {
		word := line[i]
		if word == "--" || command != nil && len(command.Subcommands) > 0 {
			arguments = append(arguments, line[i:]...)
			break
		}
		if word == "-" || !strings.HasPrefix(word, "-") {
			if command == nil && len(arguments) == 0 {
				if command = app.Command(word); command != nil {
					continue
				}
			}
			arguments = append(arguments, word)
			continue
		}
		words := line[i : i+1]
		name, _, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
		flag, isGlobal := lookUp(app, command, name)
		switch wantsValue := flag != nil && flag.TakesValue() && !hasValue; {
		case wantsValue && i+1 < len(line):
			i++
			words = line[i-1 : i+1]
		case wantsValue: // what is moved behind it must not become its value
			arguments = nil
			if isGlobal {
				command, local = nil, nil
			}
		}
		if isGlobal {
			global = append(global, words...)
		} else {
			local = append(local, words...)
		}
	}
	ordered := append(slices.Clone(line[:min(1, len(line))]), global...)
	if command != nil {
		ordered = append(ordered, command.Name)
	}
	return append(append(ordered, local...), arguments...)
}

// lookUp finds a flag of the command or a global one; one that nobody knows is
// left for the command's parser to complain about.
func lookUp(app *urfave.App, command *urfave.Command, name string) (flag urfave.DocGenerationFlag, isGlobal bool) {
	find := func(flags []urfave.Flag) urfave.DocGenerationFlag {
		for _, f := range flags {
			if documented, ok := f.(urfave.DocGenerationFlag); ok && slices.Contains(f.Names(), name) {
				return documented
			}
		}
		return nil
	}
	if command != nil {
		if flag = find(command.Flags); flag != nil {
			return flag, false
		}
	}
	flag = find(app.Flags)
	return flag, flag != nil
}
