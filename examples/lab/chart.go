package main

import (
	"fmt"
	"image/color"
	"math"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A series is a line of a chart.
type series struct {
	name  string
	xs    []float64
	ys    []float64
	dash  bool
	steps bool // a survival curve: level until the next point
}

func (s *series) add(x, y float64) {
	s.xs, s.ys = append(s.xs, x), append(s.ys, y)
}

// A chart is what a plot shows.
type chart struct {
	title, x, y  string
	logX, logY   bool
	yMin, yMax   float64 // 0, 0: from the data
	legendLeft   bool
	legendBottom bool
	series       []*series
	points       bool // marks on the lines
}

// colours that people who see fewer can tell apart (Okabe and Ito).
var colours = []color.Color{
	color.RGBA{0, 114, 178, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{0, 158, 115, 255}, color.RGBA{204, 121, 167, 255},
	color.RGBA{0, 0, 0, 255}, color.RGBA{230, 159, 0, 255}, color.RGBA{86, 180, 233, 255}, color.RGBA{140, 140, 140, 255},
}

// plot writes a chart as name.png.
func (l *lab) plot(name string, c chart) {
	if l.err != nil {
		return
	}
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.title, c.x, c.y
	p.Title.TextStyle.Font.Size = 15
	p.Title.Padding = 8
	p.Title.TextStyle.YAlign = draw.YTop
	p.BackgroundColor = color.White
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font.Size = 13
		axis.Tick.Label.Font.Size = 11
		axis.Padding = 4
		axis.Label.Padding = 6
		axis.Tick.Marker = evenTicks{c.points}
	}
	p.Legend.TextStyle.Font.Size = 12
	p.Legend.Top, p.Legend.Left = !c.legendBottom, c.legendLeft
	p.Legend.Padding = 3
	p.Legend.ThumbnailWidth = 28
	p.Legend.XOffs, p.Legend.YOffs = -8, -8
	if c.legendLeft {
		p.Legend.XOffs = 8
	}
	if c.legendBottom {
		p.Legend.YOffs = 8
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{225}, color.Gray{225}
	p.Add(grid)
	for i, s := range c.series {
		l.line(p, c, s, colours[i%len(colours)])
	}
	if c.logX {
		p.X.Tick.Marker = logTicks{}
	}
	if c.logY {
		p.Y.Tick.Marker = logTicks{}
	}
	if c.yMin != 0 || c.yMax != 0 {
		p.Y.Min, p.Y.Max = scale(c.logY, c.yMin), scale(c.logY, c.yMax)
	}
	l.fail(p.Save(24*vg.Centimeter, 15*vg.Centimeter, filepath.Join(l.dir, name+".png")))
}

func (l *lab) line(p *plot.Plot, c chart, s *series, colour color.Color) {
	pts := make(plotter.XYs, 0, len(s.xs))
	for i := range s.xs {
		if c.logY && s.ys[i] <= 0 || c.logX && s.xs[i] <= 0 {
			continue
		}
		pts = append(pts, plotter.XY{X: scale(c.logX, s.xs[i]), Y: scale(c.logY, s.ys[i])})
	}
	if len(pts) == 0 {
		return
	}
	line, err := plotter.NewLine(pts)
	if l.fail(err) {
		return
	}
	line.Color, line.Width = colour, vg.Points(2)
	if s.dash {
		line.Dashes = []vg.Length{vg.Points(6), vg.Points(4)}
	}
	if s.steps {
		line.StepStyle = plotter.PostStep
	}
	p.Add(line)
	if !c.points || s.dash {
		p.Legend.Add(s.name, line)
		return
	}
	marks, err := plotter.NewScatter(pts)
	if l.fail(err) {
		return
	}
	marks.Color, marks.Shape, marks.Radius = colour, draw.CircleGlyph{}, vg.Points(3)
	p.Add(marks)
	p.Legend.Add(s.name, line, marks)
}

// scale is a number's place on an axis. The logarithm is taken here and not by
// the axis, whose layout reckons with even ones.
func scale(log bool, x float64) float64 {
	if log {
		return math.Log10(x)
	}
	return x
}

// evenTicks marks round numbers, some eight of them; whole ones if so wished.
type evenTicks struct{ whole bool }

// Ticks implements plot.Ticker.
func (e evenTicks) Ticks(lo, hi float64) []plot.Tick {
	if hi <= lo {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/8)))
	for _, m := range []float64{2, 2.5, 2} { // 2, 5, 10 times
		if (hi-lo)/step > 10 {
			step *= m
		}
	}
	if e.whole {
		step = max(step, 1)
	}
	digits := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	var ticks []plot.Tick
	for n := int(math.Ceil(lo/step - 1e-9)); float64(n)*step <= hi+step*1e-9; n++ {
		v := float64(n) * step // of an integer, so that there is no −0
		ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%.*f", digits, v)})
	}
	return ticks
}

// logTicks marks every power of ten of an axis of logarithms, and labels so
// many that they have room.
type logTicks struct{}

// Ticks implements plot.Ticker.
func (logTicks) Ticks(lo, hi float64) []plot.Tick {
	if hi <= lo {
		return nil
	}
	decades := hi - lo
	first, last := int(math.Floor(lo)), int(math.Ceil(hi))
	every := max((last-first+7)/8, 1)
	var ticks []plot.Tick
	for e := first; e <= last; e++ {
		for m := 1.0; m < 10; m++ {
			v := m * math.Pow(10, float64(e))
			t := plot.Tick{Value: math.Log10(v)}
			if t.Value < lo-1e-9 || t.Value > hi+1e-9 || m > 1 && decades > 5 {
				continue
			}
			if m == 1 && (e-first)%every == 0 || decades < 2 && (m == 2 || m == 5) {
				t.Label = power(v, e)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// power writes a tick: 0.01 to 100,000 in full, others as 1e-07.
func power(v float64, e int) string {
	if e >= -2 && e <= 5 {
		return fmt.Sprintf("%.*f", max(-e, 0), v)
	}
	return fmt.Sprintf("%.0e", v)
}
