package scheduler_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// publicPackages are those that other programs import. The rest (river, sql, internal,
// integration) is what they are made of.
func publicPackages() []string {
	return []string{
		".", "cmd/scheduler/cli", "jobs", "jobs/cleanup", "jobs/cron", "jobs/declared", "jobs/retention", "migrations", "schedulerhttp", "schedulertest", "schedulerhttp",
	}
}

// TestEveryExportedNameHasAnExample reads the examples of the packages that other programs
// import: each exported name is used in one, a type at least by way of a function that has
// to do with it, and each example has an output, by which go test runs it.
func TestEveryExportedNameHasAnExample(t *testing.T) {
	t.Parallel()
	for _, folder := range publicPackages() {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			files := parseFolder(t, folder)
			documented, err := doc.NewFromFiles(files.fset, files.all, "github.com/systempromptio/scheduler/"+folder)
			require.NoError(t, err)
			used := make(map[string]bool)
			for _, file := range files.examples {
				for _, name := range usedNames(file) {
					used[name] = true
				}
				if folder == "cmd/scheduler/cli" {
					continue // Main exits; examples/ has a program that the tests build and run
				}
				for _, example := range doc.Examples(file) {
					assert.True(t, example.Output != "" || example.EmptyOutput, "Example%s has no output, so nobody runs it", example.Name)
				}
			}
			require.NotEmpty(t, files.examples, "%s has no example", folder)
			useTypes(documented, used)
			missing := slices.DeleteFunc(exportedNames(documented), func(name string) bool {
				return used[name[strings.LastIndex(name, ".")+1:]]
			})
			assert.Empty(t, missing, "no example uses these")
		})
	}
}

type folderFiles struct {
	fset          *token.FileSet
	all, examples []*ast.File
}

// parseFolder parses the Go files of a folder, and those of its examples apart.
func parseFolder(t *testing.T, folder string) folderFiles {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	files := folderFiles{fset: token.NewFileSet()}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		file, err := parser.ParseFile(files.fset, path, content, parser.ParseComments)
		require.NoError(t, err)
		name := filepath.Base(path)
		switch {
		case strings.HasPrefix(name, "example") && strings.HasSuffix(name, "_test.go"):
			files.examples = append(files.examples, file)
		case !strings.HasSuffix(name, "_test.go"):
			files.all = append(files.all, file)
		}
	}
	return files
}

// usedNames are the names of other packages, of methods and of fields in a file.
func usedNames(file *ast.File) []string {
	var names []string
	ast.Inspect(file, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.SelectorExpr:
			names = append(names, node.Sel.Name)
		case *ast.FuncDecl:
			if node.Recv != nil { // the example implements an interface
				names = append(names, node.Name.Name)
			}
		}
		return true
	})
	return names
}

// useTypes adds the types that used functions and types mention.
func useTypes(p *doc.Package, used map[string]bool) {
	for before := -1; before != len(used); {
		before = len(used)
		for _, f := range p.Funcs {
			useMentioned(f.Name, f.Decl.Type, used)
		}
		for _, t := range p.Types {
			useMentioned(t.Name, t.Decl, used)
			for _, f := range slices.Concat(t.Funcs, t.Methods) {
				useMentioned(f.Name, f.Decl.Type, used)
			}
		}
	}
}

func useMentioned(name string, declaration ast.Node, used map[string]bool) {
	if !used[name] {
		return
	}
	ast.Inspect(declaration, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.Field:
			ast.Inspect(node.Type, func(node ast.Node) bool {
				if ident, ok := node.(*ast.Ident); ok {
					used[ident.Name] = true
				}
				return true
			})
			return false
		default:
			return true
		}
	})
}

// exportedNames lists a package's names, methods as Type.Method. What the language or
// the standard library calls by itself is not among them.
func exportedNames(p *doc.Package) []string {
	var names []string
	values := func(list []*doc.Value) {
		for _, value := range list {
			for _, name := range value.Names {
				if ast.IsExported(name) {
					names = append(names, name)
				}
			}
		}
	}
	values(p.Consts)
	values(p.Vars)
	for _, function := range p.Funcs {
		names = append(names, function.Name)
	}
	for _, t := range p.Types {
		names = append(names, t.Name)
		values(t.Consts)
		values(t.Vars)
		for _, function := range t.Funcs {
			names = append(names, function.Name)
		}
		for _, method := range t.Methods {
			if !slices.Contains([]string{"Error", "Unwrap", "Is", "String", "MarshalJSON", "UnmarshalJSON"}, method.Name) {
				names = append(names, t.Name+"."+method.Name)
			}
		}
	}
	return names
}
