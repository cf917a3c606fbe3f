package main

import (
	"bytes"
	"encoding/csv"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every experiment runs, prints its tables, and writes CSV and pictures that
// can be read.
func TestExperiments(t *testing.T) {
	for _, e := range experiments {
		t.Run(e.name, func(t *testing.T) {
			dir := t.TempDir()
			var out bytes.Buffer
			require.NoError(t, run([]string{e.name, "-out", dir, "-tiny"}, &out))
			require.Contains(t, out.String(), "written to "+dir)
			files, err := os.ReadDir(dir)
			require.NoError(t, err)
			pictures := 0
			for _, file := range files {
				f, err := os.Open(filepath.Join(dir, file.Name()))
				require.NoError(t, err)
				switch filepath.Ext(file.Name()) {
				case ".csv":
					rows, err := csv.NewReader(f).ReadAll()
					require.NoError(t, err, file.Name())
					require.Greater(t, len(rows), 1, file.Name())
				case ".png":
					picture, err := png.Decode(f)
					require.NoError(t, err, file.Name())
					require.Greater(t, picture.Bounds().Dx(), 800)
					pictures++
				default:
					t.Errorf("what is %s?", file.Name())
				}
				require.NoError(t, f.Close())
			}
			require.GreaterOrEqual(t, pictures, 2)
		})
	}
}

// The same seed prints the same tables.
func TestExperimentsRepeat(t *testing.T) {
	table := func(seed string) string {
		var out bytes.Buffer
		require.NoError(t, run([]string{"reshard", "-out", t.TempDir(), "-tiny", "-seed", seed}, &out))
		text, _, _ := strings.Cut(out.String(), "written to")
		return text
	}
	require.Equal(t, table("5"), table("5"))
	require.NotEqual(t, table("5"), table("6"))
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"-full"}, {"nothing"}, {"stake", "again"}, {"stake", "-what"}} {
		require.Error(t, run(args, &bytes.Buffer{}), "%v", args)
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct{ lo, hi float64 }{{0, 35}, {120, 185}, {-0.02, 1.02}, {1, 1000}} {
		ticks := evenTicks{}.Ticks(c.lo, c.hi)
		require.GreaterOrEqual(t, len(ticks), 4)
		require.LessOrEqual(t, len(ticks), 12)
		for _, x := range ticks {
			require.NotContains(t, x.Label, "-0")
			require.True(t, x.Value >= c.lo && x.Value <= c.hi+1e-9)
		}
	}
	for _, c := range []struct{ lo, hi float64 }{{1e-15, 1}, {1, 300}, {0.5, 2}, {200, 3500}, {3e5, 2e7}} {
		labels := 0
		for _, x := range (logTicks{}).Ticks(math.Log10(c.lo), math.Log10(c.hi)) {
			if x.Label != "" {
				labels++
			}
		}
		require.GreaterOrEqual(t, labels, 2, "%v", c)
	}
	require.Empty(t, logTicks{}.Ticks(1, 1))
}
