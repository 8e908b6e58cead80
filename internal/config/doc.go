// Package config reads the configuration of a replica: a YAML file, environment
// variables and flags become a scheduler.Config.
//
// A flag wins over a variable, a variable over the file, the file over the
// default. [Load] reads strictly and reports everything that is wrong at once,
// each with its place: file, line and column, or the variable or flag. What can be
// set is listed in one place, [Fields] and [JobFields]; config.example.yaml shows
// all of it.
//
// The package reads no environment and no flags of its own: its caller hands them
// in.
package config
