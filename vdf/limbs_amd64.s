//go:build !purego

#include "textflag.h"

// MULX leaves the flags alone, so that a chain of carries goes on while the
// products for it are made. Loops count an index up to zero, with pointers to
// the ends. The slices in the arguments shrink as they are worked off.

// COLUMN adds four words of y by one of x to z, see addMul4. The carries c are
// used up, the new ones are in d.
#define COLUMN(c0, c1, c2, c3, d0, d1, d2, d3) \
	MOVQ  (R13)(CX*8), DX; \
	MULXQ 0(SI), R15, d0; \
	ADDQ  R15, c0; \
	MULXQ 8(SI), R15, d1; \
	ADCQ  R15, c1; \
	MULXQ 16(SI), R15, d2; \
	ADCQ  R15, c2; \
	MULXQ 24(SI), R15, d3; \
	ADCQ  R15, c3; \
	ADCQ  $0, d3; \
	ADDQ  (R12)(CX*8), c0; \
	MOVQ  c0, (R12)(CX*8); \
	ADCQ  c1, d0; \
	ADCQ  c2, d1; \
	ADCQ  c3, d2; \
	ADCQ  $0, d3; \
	INCQ  CX

// func mul(z, x, y []uint64)
TEXT ·mul(SB), NOSPLIT, $0-72
	CMPB ·mulx(SB), $0
	JEQ  words
	MOVQ z_base+0(FP), DI
	MOVQ z_len+8(FP), CX
	LEAQ (DI)(CX*8), DI
	NEGQ CX
	JZ   zeroed

zero:
	MOVQ $0, (DI)(CX*8)
	INCQ CX
	JNZ  zero

zeroed:
	JMP addMULX<>(SB)

words:
	JMP ·mulWords(SB)

// func addProduct(z, x, y []uint64)
TEXT ·addProduct(SB), NOSPLIT, $0-72
	CMPB ·mulx(SB), $0
	JEQ  words
	JMP  addMULX<>(SB)

words:
	JMP ·addProductWords(SB)

// SPAN prepares a loop over x, or as much of it as z has room for: R8 is the
// length of z and becomes what there is of it above.
#define SPAN \
	MOVQ    x_len+32(FP), CX; \
	CMPQ    R8, CX; \
	CMOVQLT R8, CX; \
	MOVQ    z_base+0(FP), R12; \
	LEAQ    (R12)(CX*8), R12; \
	MOVQ    x_base+24(FP), R13; \
	LEAQ    (R13)(CX*8), R13; \
	NEGQ    CX; \
	ADDQ    CX, R8

// The arguments are those of addProduct.
TEXT addMULX<>(SB), NOSPLIT, $0-72
	MOVQ y_base+48(FP), SI

fours:
	CMPQ    y_len+56(FP), $4
	JLT     ones
	MOVQ    z_len+8(FP), R8
	CMPQ    R8, $4
	JLT     ones
	SPAN
	MOVQ    R8, z_cap+16(FP)
	XORL    AX, AX
	XORL    BX, BX
	XORL    R8, R8
	XORL    R9, R9

	// two columns a turn, the carries in AX BX R8 R9 and R10 R11 R14 DI
column:
	COLUMN(AX, BX, R8, R9, R10, R11, R14, DI)
	JZ    odd
	COLUMN(R10, R11, R14, DI, AX, BX, R8, R9)
	JNZ   column
	JMP   above4

odd:
	MOVQ R10, AX
	MOVQ R11, BX
	MOVQ R14, R8
	MOVQ DI, R9

above4:
	MOVQ z_cap+16(FP), CX
	CMPQ CX, $4
	JLT  few
	ADDQ AX, 0(R12)
	ADCQ BX, 8(R12)
	ADCQ R8, 16(R12)
	ADCQ R9, 24(R12)
	JCC  next
	LEAQ 32(R12), R12
	SUBQ $4, CX
	JZ   next

carry:
	ADDQ $1, (R12)
	JCC  next
	ADDQ $8, R12
	DECQ CX
	JNZ  carry
	JMP  next

few:
	TESTQ CX, CX
	JZ    next
	ADDQ  AX, 0(R12)
	DECQ  CX        // keeps the carry
	JZ    next
	ADCQ  BX, 8(R12)
	DECQ  CX
	JZ    next
	ADCQ  R8, 16(R12)

next:
	ADDQ $32, z_base+0(FP)
	SUBQ $4, z_len+8(FP)
	ADDQ $32, SI
	SUBQ $4, y_len+56(FP)
	JMP  fours

ones:
	CMPQ    y_len+56(FP), $0
	JEQ     return
	MOVQ    z_len+8(FP), R8
	TESTQ   R8, R8
	JZ      return
	SPAN
	MOVQ    (SI), DX
	XORL    AX, AX

row:
	MULXQ (R13)(CX*8), R15, R10
	ADDQ  AX, R15
	ADCQ  $0, R10
	ADDQ  (R12)(CX*8), R15
	MOVQ  R15, (R12)(CX*8)
	ADCQ  $0, R10
	MOVQ  R10, AX
	INCQ  CX
	JNZ   row

above:
	TESTQ R8, R8
	JZ    shift
	ADDQ  AX, (R12)
	JCC   shift
	MOVL  $1, AX
	ADDQ  $8, R12
	DECQ  R8
	JMP   above

shift:
	ADDQ $8, z_base+0(FP)
	DECQ z_len+8(FP)
	ADDQ $8, SI
	DECQ y_len+56(FP)
	JMP  ones

return:
	RET

// func divideOdd(p, q, x []uint64, inv uint64)
//
// x times the words of the quotients, R13 and R14, is subtracted; the borrows
// are R15 and DI.
TEXT ·divideOdd(SB), NOSPLIT, $0-80
	CMPB ·mulx(SB), $0
	JEQ  words
	MOVQ p_base+0(FP), R8
	MOVQ p_len+8(FP), R11
	MOVQ q_base+24(FP), R9
	MOVQ x_base+48(FP), R10
	MOVQ inv+72(FP), R12
	LEAQ (R8)(R11*8), R8
	LEAQ (R9)(R11*8), R9
	LEAQ (R10)(R11*8), R10 // moves down as p and q lose words

quotient:
	NEGQ  R11
	MOVQ  (R8)(R11*8), R13
	IMULQ R12, R13
	MOVQ  (R9)(R11*8), R14
	IMULQ R12, R14
	MOVQ  R11, CX
	XORL  R15, R15
	XORL  DI, DI

less:
	MOVQ  (R10)(CX*8), DX
	MULXQ R13, AX, BX
	ADDQ  R15, AX
	ADCQ  $0, BX
	SUBQ  AX, (R8)(CX*8)
	ADCQ  $0, BX
	MOVQ  BX, R15
	MULXQ R14, AX, BX
	ADDQ  DI, AX
	ADCQ  $0, BX
	SUBQ  AX, (R9)(CX*8)
	ADCQ  $0, BX
	MOVQ  BX, DI
	INCQ  CX
	JNZ   less
	MOVQ  R13, (R8)(R11*8)
	MOVQ  R14, (R9)(R11*8)
	SUBQ  $8, R10
	NEGQ  R11
	DECQ  R11
	JNZ   quotient
	RET

words:
	JMP ·divideWords(SB)

// func modMULX(p, d []uint64, top, v uint64)
//
// See mod. R13 and R11 point to the ends of the words of p at work and of d,
// R8 is top, R9 the borrow, R14 how many digits follow.
TEXT ·modMULX(SB), NOSPLIT, $8-64
	MOVQ p_base+0(FP), R13
	MOVQ p_len+8(FP), R14
	MOVQ d_base+24(FP), R11
	MOVQ d_len+32(FP), R12
	MOVQ top+48(FP), R8
	MOVQ v+56(FP), AX
	MOVQ AX, v-8(SP)
	LEAQ (R13)(R14*8), R13
	LEAQ (R11)(R12*8), R11
	SUBQ R12, R14

digit:
	MOVQ -8(R11), CX
	MOVQ $-1, DX
	CMPQ R8, CX
	JCC  estimated

	// q, q0 = v top + (top, p1);  r = (p1, p0) - q (d1, d0) - (d1, d0)
	MOVQ  R8, DX
	MULXQ v-8(SP), AX, BX
	MOVQ  -8(R13), SI
	ADDQ  SI, AX
	ADCQ  R8, BX
	MOVQ  BX, DX
	MOVQ  BX, DI
	IMULQ CX, DI
	SUBQ  DI, SI
	MULXQ -16(R11), DI, R15
	MOVQ  -16(R13), R10
	SUBQ  DI, R10
	SBBQ  R15, SI
	SUBQ  -16(R11), R10
	SBBQ  CX, SI
	INCQ  DX

	// one too large if r1 >= q0; hardly ever too small
	LEAQ    -1(DX), DI
	MOVQ    R10, BX
	MOVQ    SI, R15
	ADDQ    -16(R11), BX
	ADCQ    CX, R15
	CMPQ    SI, AX
	CMOVQCC DI, DX
	CMOVQCC BX, R10
	CMOVQCC R15, SI
	CMPQ    SI, CX
	JCS     estimated
	JNE     more
	CMPQ    R10, -16(R11)
	JCS     estimated

more:
	INCQ DX

estimated:
	MOVQ R12, R10
	NEGQ R10
	XORL R9, R9

four:
	CMPQ  R10, $-4
	JGT   single
	MULXQ 0(R11)(R10*8), AX, R15
	MULXQ 8(R11)(R10*8), BX, CX
	ADDQ  R15, BX
	MULXQ 16(R11)(R10*8), SI, R15
	ADCQ  CX, SI
	MULXQ 24(R11)(R10*8), DI, CX
	ADCQ  R15, DI
	ADCQ  $0, CX
	ADDQ  R9, AX
	ADCQ  $0, BX
	ADCQ  $0, SI
	ADCQ  $0, DI
	ADCQ  $0, CX
	SUBQ  AX, 0(R13)(R10*8)
	SBBQ  BX, 8(R13)(R10*8)
	SBBQ  SI, 16(R13)(R10*8)
	SBBQ  DI, 24(R13)(R10*8)
	ADCQ  $0, CX
	MOVQ  CX, R9
	ADDQ  $4, R10
	JMP   four

single:
	TESTQ R10, R10
	JZ    compare
	MULXQ (R11)(R10*8), AX, CX
	ADDQ  R9, AX
	ADCQ  $0, CX
	SUBQ  AX, (R13)(R10*8)
	ADCQ  $0, CX
	MOVQ  CX, R9
	INCQ  R10
	JMP   single

compare:
	CMPQ R9, R8
	JHI  back
	MOVQ -8(R13), R8
	SUBQ $8, R13
	DECQ R14
	JGE  digit
	RET

	// the digit was too large: once more d, and a borrow less for its carry
back:
	MOVQ R12, R10
	NEGQ R10
	XORL CX, CX

plus:
	MOVQ (R13)(R10*8), AX
	NEGQ CX
	ADCQ (R11)(R10*8), AX
	SBBQ CX, CX
	MOVQ AX, (R13)(R10*8)
	INCQ R10
	JNZ  plus
	ADDQ CX, R9
	JMP  compare

// func hasMULX() bool
TEXT ·hasMULX(SB), NOSPLIT, $0-1
	MOVB $0, ret+0(FP)
	MOVL $0, AX
	CPUID
	CMPL AX, $7
	JCS  none
	MOVL $7, AX
	MOVL $0, CX
	CPUID
	ANDL $0x108, BX
	CMPL BX, $0x108
	JNE  none
	MOVL $0x80000001, AX
	CPUID
	BTL  $5, CX
	JCC  none
	MOVB $1, ret+0(FP)

none:
	RET
