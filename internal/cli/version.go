package cli

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"muster/internal/version"
	"muster/wire"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		GroupID: "look",
		Short:   "Tell which muster this is",
		Args:    asUsed,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version  string `json:"version"`
				Protocol int    `json:"protocol"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{version.String(), wire.Protocol, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			return a.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "muster %s, protocol %d, %s %s\n", v.Version, v.Protocol, v.Go, v.Platform)
			})
		},
	}
}
