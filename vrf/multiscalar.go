package vrf

// accumulator is the part of a group that a sum of many multiples needs: sums
// of type S, and summands of type P, which are points in a form that is cheap
// to add.
type accumulator[S, P any] interface {
	*S
	setZero()
	double()
	add(*S)
	addAffine(p *P, subtract bool)
}

// multiScalar returns the sum of scalars[i]*points[i], in variable time, by
// the bucket method (Pippenger). Scalars are 256-bit, the lowest word first;
// short ones cost less.
func multiScalar[S, P any, A accumulator[S, P]](points []P, scalars []words) (sum S) {
	width := window(len(points))
	columns := 256/width + 1 // a last carry goes into the highest
	digits := make([]int16, columns*len(points))
	for i := range scalars {
		recode(digits[i:], len(points), &scalars[i], width)
	}
	buckets := make([]S, 1<<(width-1))
	A(&sum).setZero()
	for col := columns - 1; col >= 0; col-- {
		for range width {
			A(&sum).double()
		}
		for i := range buckets {
			A(&buckets[i]).setZero()
		}
		used := 0
		for i, d := range digits[col*len(points) : (col+1)*len(points)] {
			if d > 0 {
				A(&buckets[d-1]).addAffine(&points[i], false)
			} else if d < 0 {
				A(&buckets[-d-1]).addAffine(&points[i], true)
			}
			used = max(used, int(d), int(-d))
		}
		// Bucket k counts k+1 times: it is in all partial sums from the top to
		// itself.
		var run, total S
		A(&run).setZero()
		A(&total).setZero()
		for k := used - 1; k >= 0; k-- {
			A(&run).add(&buckets[k])
			A(&total).add(&run)
		}
		A(&sum).add(&total)
	}
	return sum
}

// window returns the width of digits for which n points cost least: every
// column adds each point once, and each of 2^(width-1) buckets twice.
func window(n int) (width int) {
	cost := func(w int) int { return (n + 1<<w) * (256/w + 1) }
	for width = 2; width < 14 && cost(width+1) < cost(width); width++ {
	}
	return width
}

// recode writes k in digits of the given width between -2^(width-1) and
// 2^(width-1), the lowest first, to every stride-th place of digits.
func recode(digits []int16, stride int, k *words, width int) {
	carry := uint64(0)
	for col := range 256/width + 1 {
		bit := col * width
		d := carry
		if bit < 256 {
			v := k[bit/64] >> (bit % 64)
			if bit%64+width > 64 && bit/64 < 3 {
				v |= k[bit/64+1] << (64 - bit%64)
			}
			d += v & (1<<width - 1)
		}
		carry = (d + 1<<(width-1) - 1) >> width // d is in the upper half
		digits[col*stride] = int16(int64(d) - int64(carry<<width))
	}
}
