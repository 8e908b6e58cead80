// Package tutorial holds the test of docs/tutorial-module.md: a module made of that page
// alone is built, tested and run.
package tutorial
