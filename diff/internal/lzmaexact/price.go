package lzmaexact

// Prices are what symbols cost, in sixteenths of a bit. They are integers that
// steer the parser, so their rounding is part of the encoding.
const (
	priceShift = 4 // a bit costs 1 << priceShift; probabilities are told apart by their upper bits only
	unreached  = 1 << 30
)

// bitPrices are the prices of a zero by its probability.
var bitPrices = func() (t [1 << probBits >> priceShift]uint32) {
	for i := range t {
		w := uint32(i)<<priceShift + 1<<priceShift/2
		bits := uint32(0)
		for range priceShift {
			w *= w
			for bits <<= 1; w >= 1<<16; bits++ {
				w >>= 1
			}
		}
		t[i] = probBits<<priceShift - 15 - bits
	}
	return t
}()

func price0(p prob) uint32 { return bitPrices[p>>priceShift] }

func price1(p prob) uint32 { return bitPrices[(p^(1<<probBits-1))>>priceShift] }

func priceBit(p prob, bit uint32) uint32 {
	return bitPrices[(uint32(p)^(-bit&(1<<probBits-1)))>>priceShift&(1<<probBits>>priceShift-1)]
}

func priceTree(p []prob, n int, v uint32) uint32 {
	price := uint32(0)
	for v |= 1 << n; v != 1; {
		bit := v & 1
		v >>= 1
		price += priceBit(p[v], bit)
	}
	return price
}

func priceReverse(p []prob, n int, v uint32) uint32 {
	price, node := uint32(0), uint32(1)
	for range n {
		bit := v & 1
		v >>= 1
		price += priceBit(p[node], bit)
		node = node<<1 | bit
	}
	return price
}
