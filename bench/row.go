package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// Row is one figure.
type Row struct {
	Name     string   `json:"name"`
	Value    float64  `json:"value"`
	Unit     string   `json:"unit"`
	Baseline *float64 `json:"baseline"` // what Value is held against, in the same unit; null: nothing
	Ratio    *float64 `json:"ratio"`    // Value by Baseline
	Limit    *float64 `json:"limit"`    // of Ratio where there is one, else of Value; null: the row only tells
	OK       bool     `json:"ok"`
	Command  string   `json:"command"` // that measures it
}

// compared is a time that is held against another one.
func compared(name string, p Pair, limit float64) Row {
	ratio := round(p.ratio())
	return Row{
		Name: name, Value: micros(p.Value), Unit: "µs", Baseline: new(micros(p.Baseline)), Ratio: &ratio, Limit: &limit,
		OK: ratio <= limit,
	}
}

// absolute is a figure that is held against a limit.
func absolute(name string, value float64, unit string, limit float64) Row {
	value = round(value)
	return Row{Name: name, Value: value, Unit: unit, Limit: &limit, OK: value <= limit}
}

// told is a time without a limit.
func told(name string, took time.Duration) Row {
	return Row{Name: name, Value: micros(took), Unit: "µs", OK: true}
}

func micros(d time.Duration) float64 { return round(float64(d) / float64(time.Microsecond)) }
func millis(d time.Duration) float64 { return round(float64(d) / float64(time.Millisecond)) }

// round keeps three digits, which is more than any measurement here is good for.
func round(v float64) float64 {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64) // it was a number
	return rounded
}

func printHead(w io.Writer) {
	line(w, "", "value", "unit", "baseline", "ratio", "limit", "")
}

// print writes the row as a line of the table.
func (r Row) print(w io.Writer) {
	mark := "ok"
	if !r.OK {
		mark = "OVER"
	}
	line(w, r.Name, figure(&r.Value), r.Unit, figure(r.Baseline), figure(r.Ratio), figure(r.Limit), mark)
}

// line writes the columns of a line. A table that cannot be written is missed by whoever waits for it.
func line(w io.Writer, columns ...any) {
	_, _ = fmt.Fprintf(w, "%-58s %10s %-6s %10s %7s %7s  %s\n", columns...)
}

func figure(v *float64) string {
	if v == nil {
		return "-"
	}
	return strconv.FormatFloat(*v, 'f', -1, 64)
}

// write puts the rows into a file.
func write(file string, rows []Row) error {
	text, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// verdict names the rows that are over their limits.
func verdict(rows []Row) error {
	var over []string
	for _, r := range rows {
		if !r.OK {
			over = append(over, r.Name)
		}
	}
	if len(over) == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d rows are over their limits: %s", len(over), len(rows), strings.Join(over, "; "))
}
