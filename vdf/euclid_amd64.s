//go:build !purego

#include "textflag.h"
#include "go_asm.h"

// The rounds of lehmer, with nothing in memory but the numbers and what the
// registers have no room for. See limbs_amd64.s for MULX.

// A step of the quotient loop, see stage: x, y and their rows p, q become
// y, t and q, w, where t is in the register of x and w in that of p. The old p
// stays in CX. What counts is the way from a division to the next: DIV, then SUB
// beside CMP, then CMOV.
#define STEP(x, y, p, q, back, done) \
	MOVQ    x, AX; \
	XORL    DX, DX; \
	DIVQ    y; \
	MOVQ    p, CX; \
	MOVQ    y, BX; \
	SHRQ    $1, BX; \
	MOVQ    y, x; \
	SUBQ    DX, x; \
	IMULQ   q, AX; \
	SUBQ    AX, p; \
	MOVQ    q, R15; \
	SUBQ    p, R15; \
	CMPQ    BX, DX; \
	CMOVQCC DX, x; \
	CMOVQCS R15, p; \
	MOVQ    x, BX; \
	SHRQ    $const_stageMinBits, BX; \
	JZ      back; \
	CMPQ    x, least-96(SP); \
	JCS     done

// WORD does the next word of the pass over u, see pass: DI and SI point to the
// ends of its numbers, R12 counts up to zero, R13 and R14 are the carries.
#define WORD \
	MOVQ  (DI)(R12*8), DX; \
	XORQ  t-8(SP), DX; \
	MULXQ a-16(SP), AX, BX; \
	MULXQ c-32(SP), CX, R15; \
	ADDQ  R13, AX; \
	ADCQ  $0, BX; \
	ADDQ  R14, CX; \
	ADCQ  $0, R15; \
	MOVQ  (SI)(R12*8), DX; \
	MULXQ b-24(SP), R13, R14; \
	ADDQ  R13, AX; \
	ADCQ  R14, BX; \
	MOVQ  AX, (DI)(R12*8); \
	MULXQ d-40(SP), R13, R14; \
	ADDQ  R13, CX; \
	ADCQ  R14, R15; \
	MOVQ  CX, (SI)(R12*8); \
	MOVQ  BX, R13; \
	MOVQ  R15, R14; \
	INCQ  R12

// STAGE is stage on R8 and R9, with the rows in R10 and R11: two steps a turn,
// so that nothing is moved, and a word of the pass in the shadow of each.
#define STAGE(loop, half, odd, even, swap, done) \
	MOVQ  $const_stageP, R10; \
	MOVQ  $const_stageQ, R11; \
	CMPQ  R9, least-96(SP); \
	JCS   done; \
	PCALIGN $32; \
loop: \
	STEP(R8, R9, R10, R11, even, swap); \
	TESTQ R12, R12; \
	JZ    half; \
	WORD; \
half: \
	STEP(R9, R8, R11, R10, odd, done); \
	TESTQ R12, R12; \
	JZ    loop; \
	WORD; \
	JMP   loop; \
swap: \
	XCHGQ R10, R11; \
	JMP   done; \
odd: \
	MOVQ  R10, R11; \
even: \
	MOVQ  CX, R10; \
done:

// hi, lo = a x + b y for the row in AX, BX, with x and y of 128 bits in the
// frame; see combine.
#define COMBINE(hi, lo) \
	MOVQ  AX, DX; \
	MULXQ x0-56(SP), lo, hi; \
	MOVQ  AX, CX; \
	SARQ  $63, CX; \
	ANDQ  x0-56(SP), CX; \
	SUBQ  CX, hi; \
	IMULQ x1-48(SP), AX; \
	ADDQ  AX, hi; \
	MOVQ  BX, DX; \
	MULXQ y0-72(SP), AX, CX; \
	ADDQ  AX, lo; \
	ADCQ  CX, hi; \
	MOVQ  BX, CX; \
	SARQ  $63, CX; \
	ANDQ  y0-72(SP), CX; \
	SUBQ  CX, hi; \
	IMULQ y1-64(SP), BX; \
	ADDQ  BX, hi

// a, b = the two halves of the row p
#define UNPACK(p, a, b) \
	MOVLQSX p, b; \
	MOVQ    p, a; \
	SUBQ    b, a; \
	SARQ    $32, a

// m = all ones if a > 0, else 0
#define POSITIVE(a, m) \
	MOVQ a, m; \
	NEGQ m; \
	SARQ $63, m

// a = |a|
#define ABS(a, tmp) \
	MOVQ a, tmp; \
	SARQ $63, tmp; \
	XORQ tmp, a; \
	SUBQ tmp, a

// ROW does the next word of z = ±(a x - b y), see rows: m and n are the signs as
// masks, n = ^m; x and y are in R14 and R15.
#define ROW(m, n, a, b, z, carry) \
	MOVQ  m, DX; \
	XORQ  R14, DX; \
	MULXQ a, AX, BX; \
	ADDQ  carry, AX; \
	ADCQ  $0, BX; \
	MOVQ  n, DX; \
	XORQ  R15, DX; \
	MULXQ b, R10, R11; \
	ADDQ  R10, AX; \
	ADCQ  R11, BX; \
	MOVQ  AX, z(CX*8); \
	MOVQ  BX, carry

// LEAST sets the least number that a stage divides by, see least; k <= 63.
#define LEAST(k, tmp) \
	MOVQ    $const_stageLastBits, tmp; \
	CMPQ    k, tmp; \
	CMOVQLT tmp, k; \
	MOVQ    $1, tmp; \
	SHLXQ   k, tmp, tmp; \
	MOVQ    tmp, least-96(SP)

// func roundsMULX(e *euclid, limit int) (rounds int)
TEXT ·roundsMULX(SB), NOSPLIT, $120-24
	MOVQ $0, rounds+16(FP)

	// the pass under way
	MOVQ e+0(FP), AX
	MOVQ (euclid_u+pass_t)(AX), BX
	MOVQ BX, t-8(SP)
	MOVQ (euclid_u+pass_a)(AX), BX
	MOVQ BX, a-16(SP)
	MOVQ (euclid_u+pass_b)(AX), BX
	MOVQ BX, b-24(SP)
	MOVQ (euclid_u+pass_c)(AX), BX
	MOVQ BX, c-32(SP)
	MOVQ (euclid_u+pass_d)(AX), BX
	MOVQ BX, d-40(SP)
	MOVQ (euclid_u+pass_n)(AX), CX
	MOVQ (euclid_u+pass_x)(AX), DI
	MOVQ (euclid_u+pass_y)(AX), SI
	LEAQ (DI)(CX*8), DI
	LEAQ (SI)(CX*8), SI
	MOVQ (euclid_u+pass_i)(AX), R12
	SUBQ CX, R12
	MOVQ (euclid_u+pass_p)(AX), R13
	MOVQ (euclid_u+pass_q)(AX), R14

	PCALIGN $32
round:
	// the leading 128 bits, x1 R8, x0 R10, y1 R9, y0 CX
	MOVQ   e+0(FP), BX
	MOVQ   euclid_n(BX), CX
	CMPQ   CX, $2
	JLT    return
	MOVQ   euclid_x(BX), DX
	MOVQ   euclid_y(BX), R15
	LEAQ   (DX)(CX*8), DX
	LEAQ   (R15)(CX*8), R15
	MOVQ   -8(DX), R8
	MOVQ   -8(R15), R11
	LZCNTQ R8, AX
	MOVQ   -16(DX), R9
	LEAQ   -1(CX), BX
	SHLQ   $6, BX
	SUBQ   AX, BX             // their unit
	SUBQ   limit+8(FP), BX
	NEGQ   BX
	CMPQ   BX, $63
	JGT    return
	MOVQ   BX, k-104(SP)
	LEAST(BX, R10)
	CMPQ   CX, $2
	JEQ    short
	MOVQ   -24(DX), R10
	MOVQ   -24(R15), CX

top:
	MOVQ  -16(R15), DX
	MOVQ  AX, BX
	NOTQ  BX
	SHLXQ AX, R8, R8
	SHLXQ AX, R9, R15
	SHRQ  $1, R9
	SHRXQ BX, R9, R9
	ORQ   R9, R8
	SHRQ  $1, R10
	SHRXQ BX, R10, R10
	ORQ   R15, R10
	SHLXQ AX, R11, R9
	SHLXQ AX, DX, R15
	SHRQ  $1, DX
	SHRXQ BX, DX, DX
	ORQ   DX, R9
	SHRQ  $1, CX
	SHRXQ BX, CX, CX
	ORQ   R15, CX
	MOVQ  R8, x1-48(SP)
	MOVQ  R10, x0-56(SP)
	MOVQ  R9, y1-64(SP)
	MOVQ  CX, y0-72(SP)

	STAGE(loop1, half1, odd1, even1, swap1, done1)
	MOVQ $const_stageP, BX
	CMPQ R10, BX
	JEQ  return

	// the rows on these 128 bits, and the leading 64 of that
	MOVQ R10, p-80(SP)
	MOVQ R11, q-88(SP)
	UNPACK(R10, AX, BX)
	COMBINE(R8, R10)
	UNPACK(R11, AX, BX)
	COMBINE(R9, R15)
	LZCNTQ R8, AX
	MOVQ   k-104(SP), CX
	ADDQ   AX, CX
	CMPQ   CX, $63
	JGT    once
	LEAST(CX, DX)
	MOVQ   AX, BX
	NOTQ   BX
	SHRQ   $1, R10
	SHRXQ  BX, R10, R10
	SHLXQ  AX, R8, R8
	ORQ    R10, R8
	SHRQ   $1, R15
	SHRXQ  BX, R15, R15
	SHLXQ  AX, R9, R9
	ORQ    R15, R9

	STAGE(loop2, half2, odd2, even2, swap2, done2)

rest:
	TESTQ R12, R12
	JZ    settled
	WORD
	JMP   rest

settled:
	// m grows if there is more in u1
	MOVQ e+0(FP), AX
	MOVQ (euclid_u+pass_y)(AX), BX
	MOVQ euclid_m(AX), CX
	CMPQ (BX)(CX*8), $1
	SBBQ $-1, CX
	MOVQ CX, euclid_m(AX)

	// the product of both matrices: a R10, b AX, c R8, d R9
	MOVQ  p-80(SP), AX
	UNPACK(AX, R8, R9)
	MOVQ  q-88(SP), AX
	UNPACK(AX, R12, R13)
	UNPACK(R10, AX, BX)
	UNPACK(R11, CX, DX)
	MOVQ  AX, R10
	IMULQ R8, R10
	MOVQ  BX, R11
	IMULQ R12, R11
	ADDQ  R11, R10
	IMULQ R9, AX
	IMULQ R13, BX
	ADDQ  BX, AX
	IMULQ CX, R8
	IMULQ DX, R12
	ADDQ  R12, R8
	IMULQ CX, R9
	IMULQ DX, R13
	ADDQ  R13, R9

	// signs R14 and R15, absolute values; see apply
	POSITIVE(AX, R14)
	POSITIVE(R9, R15)
	ABS(R10, BX)
	MOVQ R10, a-16(SP)
	ABS(AX, BX)
	MOVQ AX, b-24(SP)
	ABS(R8, BX)
	MOVQ R8, c-32(SP)
	ABS(R9, BX)
	MOVQ R9, d-40(SP)
	MOVQ e+0(FP), BX
	MOVQ euclid_s1(BX), DX
	MOVQ euclid_s0(BX), CX
	XORQ DX, CX
	NOTQ CX
	MOVQ CX, t-8(SP)
	MOVQ R14, CX
	NOTQ CX
	XORQ DX, CX
	MOVQ CX, euclid_s0(BX)
	MOVQ R15, CX
	NOTQ CX
	XORQ DX, CX
	MOVQ CX, euclid_s1(BX)

	// rows, with carries R12 and R13
	MOVQ  R10, R12
	ANDQ  R14, R12
	ANDNQ AX, R14, AX
	ORQ   AX, R12
	MOVQ  R8, R13
	ANDQ  R15, R13
	ANDNQ R9, R15, R9
	ORQ   R9, R13
	MOVQ  R14, R8
	MOVQ  R15, R9
	NOTQ  R14
	NOTQ  R15
	MOVQ  R14, n0-112(SP)
	MOVQ  R15, n1-120(SP)
	MOVQ  euclid_n(BX), CX
	MOVQ  euclid_x(BX), DI
	MOVQ  euclid_y(BX), SI
	LEAQ  (DI)(CX*8), DI
	LEAQ  (SI)(CX*8), SI
	NEGQ  CX

	PCALIGN $32
rows:
	MOVQ  (DI)(CX*8), R14
	MOVQ  (SI)(CX*8), R15
	ROW(R8, n0-112(SP), a-16(SP), b-24(SP), (DI), R12)
	ROW(R9, n1-120(SP), c-32(SP), d-40(SP), (SI), R13)
	INCQ  CX
	JNZ   rows

	MOVQ e+0(FP), BX
	MOVQ euclid_n(BX), CX

trim:
	MOVQ -8(DI), DX
	ORQ  -8(SI), DX
	JNZ  trimmed
	SUBQ $8, DI
	SUBQ $8, SI
	DECQ CX
	CMPQ CX, $1
	JNE  trim

trimmed:
	MOVQ CX, euclid_n(BX)

	// the pass over u
	MOVQ euclid_m(BX), CX
	INCQ CX
	MOVQ CX, (euclid_u+pass_n)(BX)
	MOVQ (euclid_u+pass_x)(BX), DI
	MOVQ (euclid_u+pass_y)(BX), SI
	LEAQ (DI)(CX*8), DI
	LEAQ (SI)(CX*8), SI
	MOVQ CX, R12
	NEGQ R12
	MOVQ t-8(SP), AX
	MOVQ a-16(SP), R13
	ANDQ AX, R13
	MOVQ c-32(SP), R14
	ANDQ AX, R14
	INCQ rounds+16(FP)
	JMP  round

once:
	MOVQ $const_stageP, R10
	MOVQ $const_stageQ, R11
	JMP  rest

short:
	XORL R10, R10
	XORL CX, CX
	JMP  top

return:
	MOVQ e+0(FP), AX
	ADDQ (euclid_u+pass_n)(AX), R12
	MOVQ R12, (euclid_u+pass_i)(AX)
	MOVQ R13, (euclid_u+pass_p)(AX)
	MOVQ R14, (euclid_u+pass_q)(AX)
	MOVQ t-8(SP), BX
	MOVQ BX, (euclid_u+pass_t)(AX)
	MOVQ a-16(SP), BX
	MOVQ BX, (euclid_u+pass_a)(AX)
	MOVQ b-24(SP), BX
	MOVQ BX, (euclid_u+pass_b)(AX)
	MOVQ c-32(SP), BX
	MOVQ BX, (euclid_u+pass_c)(AX)
	MOVQ d-40(SP), BX
	MOVQ BX, (euclid_u+pass_d)(AX)
	RET
