package cli

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/systempromptio/scheduler/internal/config"
)

// configFlags are the flags that are settings.
type configFlags struct {
	path  string
	texts map[string]string
}

func (c *configFlags) addFile(flags *pflag.FlagSet) {
	flags.StringVar(&c.path, "config", "", "configuration file; config.example.yaml shows all of it (default none)")
}

// add makes the flags of the named settings.
func (c *configFlags) add(flags *pflag.FlagSet, names ...string) {
	if c.texts == nil {
		c.texts = make(map[string]string)
	}
	for _, field := range config.Fields() {
		if !slices.Contains(names, field.Name) {
			continue
		}
		usage := field.Usage
		if field.Default != "" && field.Default != "false" {
			usage += " (default " + field.Default + ")"
		}
		flag := flags.VarPF(&fieldValue{field: field, texts: c.texts}, field.Flag(), "", usage)
		if field.Type() == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
}

// addRest makes the flags of all settings that not every command has, but for some.
func (c *configFlags) addRest(flags *pflag.FlagSet, without ...string) {
	without = append(without, "database_url", "schema")
	var names []string
	for _, field := range config.Fields() {
		if !slices.Contains(without, field.Name) {
			names = append(names, field.Name)
		}
	}
	c.add(flags, names...)
}

// completeFields completes the values of the settings' flags.
func completeFields(cmd *cobra.Command) {
	for _, field := range config.Fields() {
		if len(field.Enum) > 0 && cmd.Flags().Lookup(field.Flag()) != nil {
			_ = cmd.RegisterFlagCompletionFunc(field.Flag(), cobra.FixedCompletions(field.Enum, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}

// fieldValue is the text of a setting's flag, checked where it is given.
type fieldValue struct {
	field config.Field
	texts map[string]string
}

var _ pflag.Value = (*fieldValue)(nil)

func (v *fieldValue) Set(text string) error {
	if err := v.field.Check(text); err != nil {
		return err
	}
	v.texts[v.field.Name] = text
	return nil
}

func (v *fieldValue) String() string { return v.texts[v.field.Name] }

func (v *fieldValue) Type() string { return v.field.Type() }
