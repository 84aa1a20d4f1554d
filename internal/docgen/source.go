package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// source is what reflection cannot tell of package wire: its comments, the values of its constants, and the examples
// in its testdata.
type source struct {
	types    map[string]string            // a type's comment
	fields   map[string]map[string]string // of a struct, by Go name
	values   map[string][]constant        // of a type, in order
	counted  map[string][]string          // the comments of a type's constants that iota counts, in order
	examples string                       // the folder
}

// constant is one value of a type.
type constant struct {
	text, comment string
}

// readSource parses the package in the folder, without its tests.
func readSource(folder string) (*source, error) {
	s := &source{
		types: map[string]string{}, fields: map[string]map[string]string{}, values: map[string][]constant{},
		counted: map[string][]string{}, examples: filepath.Join(folder, "testdata"),
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, declaration := range tree.Decls {
			if group, ok := declaration.(*ast.GenDecl); ok {
				s.readGroup(group)
			}
		}
	}
	return s, nil
}

func (s *source) readGroup(group *ast.GenDecl) {
	counted := ""
	for _, spec := range group.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			s.types[spec.Name.Name] = line(group.Doc)
			if fields, ok := spec.Type.(*ast.StructType); ok {
				s.readFields(spec.Name.Name, fields)
			}
		case *ast.ValueSpec:
			if kind, typed := spec.Type.(*ast.Ident); typed {
				s.readConstant(kind.Name, spec)
				counted = kind.Name
			}
			if group.Tok == token.CONST && counted != "" {
				s.counted[counted] = append(s.counted[counted], line(spec.Comment))
			}
		}
	}
}

func (s *source) readFields(owner string, fields *ast.StructType) {
	s.fields[owner] = map[string]string{}
	for _, field := range fields.Fields.List {
		for _, name := range field.Names {
			s.fields[owner][name.Name] = line(field.Comment)
		}
	}
}

// readConstant keeps a constant that has a literal of its own.
func (s *source) readConstant(kind string, spec *ast.ValueSpec) {
	if len(spec.Values) != 1 {
		return
	}
	literal, ok := spec.Values[0].(*ast.BasicLit)
	if !ok {
		return
	}
	text := literal.Value
	if literal.Kind == token.STRING {
		text, _ = strconv.Unquote(text) // the parser took it
	}
	s.values[kind] = append(s.values[kind], constant{text: text, comment: line(spec.Comment)})
}

// line gives a comment on one line, without the brackets of its links.
func line(comment *ast.CommentGroup) string {
	text := strings.Join(strings.Fields(comment.Text()), " ")
	return link.ReplaceAllString(text, "$1")
}

// link is a reference to something of Go's in a comment.
var link = regexp.MustCompile(`\[([A-Z][A-Za-z.]*)\]`)

// sentence gives a type's comment as one that does not begin with the type's name.
func (s *source) sentence(name string) string {
	text := strings.TrimPrefix(s.types[name], name+" ")
	for _, verb := range []string{"is ", "are "} {
		text = strings.TrimPrefix(text, verb)
	}
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// examplesOf gives the golden vectors of a type, by the name of their case.
func (s *source) examplesOf(name string) (pairs, error) {
	files, err := filepath.Glob(filepath.Join(s.examples, hyphens(name)+"-*.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var found pairs
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		label := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), hyphens(name)+"-"), ".json")
		if strings.Contains(label, "-") {
			continue // of a type whose name is longer
		}
		var flat bytes.Buffer
		if err := json.Compact(&flat, text); err != nil {
			return nil, err
		}
		found = append(found, pair{label, flow(flat.String())})
	}
	return found, nil
}

// hyphens gives a type's name as testdata has it: BlobKey is blob-key.
func hyphens(name string) string {
	var b strings.Builder
	for i, c := range strings.Replace(name, "ID", "Id", 1) {
		if c >= 'A' && c <= 'Z' {
			if i > 0 {
				b.WriteByte('-')
			}
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}
