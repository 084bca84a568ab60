@ The inner loops of integer convolution for 32-bit ARM with NEON; see neon32.rs for what they compute.
@ Names in braces are filled in by global_asm!; braces that belong to the assembler are doubled.
    .pushsection .text.milad_int8_conv_neon32, "ax", %progbits
    .syntax unified
    .arm
    .arch armv7-a
    .fpu neon

    .macro milad_int8_function name
    .p2align 4
    .globl \name
    .hidden \name
    .type \name, %function
\name:
    .endm

    @ q0 … q3 and q5: the ends of what is rounded (±512: beyond them every code saturates), what rounds to even when it is added, what
    @ takes that away again and adds the zero-point, and (d10, d11) the codes' least and greatest. Changes r12.
    .macro milad_int8_constants zero, low, high
    mov r12, #0x44000000
    vdup.32 q0, r12
    vneg.f32 q1, q0
    movw r12, #:lower16:{round}
    movt r12, #:upper16:{round}
    vdup.32 q2, r12
    ldr r11, [r0, #\zero]
    sub r12, r12, r11
    vdup.32 q3, r12
    ldrb r12, [r0, #\low]
    vdup.8 d10, r12
    ldrb r12, [r0, #\high]
    vdup.8 d11, r12
    .endm

    @ Four sums to whole numbers around the zero-point: \sums times \multipliers, rounded half to even.
    .macro milad_int8_scale sums, multipliers
    vcvt.f32.s32 \sums, \sums
    vmul.f32 \sums, \sums, \multipliers
    vmin.f32 \sums, \sums, q0
    vmax.f32 \sums, \sums, q1
    vadd.f32 \sums, \sums, q2
    vsub.i32 \sums, \sums, q3
    .endm

    @ ---- dense: \pixels neighbours × 4 channels. q0 and q1 the pixels' codes less 128, q3 and q4 a channel's weights, q5 … q7 products on
    @ their way (one multiplied, one completed, one added up at any time), q8 … q11 and q12 … q15 the sums of the first and second pixel.
    .macro milad_int8_tile pixels
    milad_int8_function milad_int8_conv_neon32_tile_\pixels
    push {{r4-r11, lr}}
    vpush {{d8-d15}}
    vmov.i8 q2, #0x80
    vmov.i32 q8, #0
    vmov.i32 q9, #0
    vmov.i32 q10, #0
    vmov.i32 q11, #0
    .if \pixels > 1
    vmov.i32 q12, #0
    vmov.i32 q13, #0
    vmov.i32 q14, #0
    vmov.i32 q15, #0
    .endif
    ldr r3, [r0, #{tile_weights}]
    ldr r4, [r0, #{tile_input}]
    ldr r5, [r0, #{tile_rows}]
    ldr r6, [r0, #{tile_segments}]
    ldr r7, [r0, #{tile_segment_step}]
    ldr r8, [r0, #{tile_groups}]
    add r8, r8, #3
    lsr r8, r8, #2
    ldr r9, [r0, #{tile_input_step}]
    ldr lr, [r0, #{tile_row_step}]
2:
    mov r10, r4
    mov r11, r6
3:
    mov r1, r10
    add r2, r10, r9
    mov r12, r8
    .p2align 4
4:
    vld1.8 {{q0}}, [r1]!
    .if \pixels > 1
    vld1.8 {{q1}}, [r2]!
    .endif
    vld1.8 {{q3}}, [r3, :128]!
    veor q0, q0, q2
    .if \pixels > 1
    veor q1, q1, q2
    vmull.s8 q5, d0, d6
    vmull.s8 q6, d2, d6
    vmlal.s8 q5, d1, d7
    vld1.8 {{q4}}, [r3, :128]!
    vmull.s8 q7, d0, d8
    vmlal.s8 q6, d3, d7
    vpadal.s16 q8, q5
    vld1.8 {{q3}}, [r3, :128]!
    vmull.s8 q5, d2, d8
    vmlal.s8 q7, d1, d9
    vpadal.s16 q12, q6
    vmull.s8 q6, d0, d6
    vmlal.s8 q5, d3, d9
    vpadal.s16 q9, q7
    vld1.8 {{q4}}, [r3, :128]!
    vmull.s8 q7, d2, d6
    vmlal.s8 q6, d1, d7
    vpadal.s16 q13, q5
    vmull.s8 q5, d0, d8
    vmlal.s8 q7, d3, d7
    vpadal.s16 q10, q6
    vmull.s8 q6, d2, d8
    vmlal.s8 q5, d1, d9
    vpadal.s16 q14, q7
    vmlal.s8 q6, d3, d9
    vpadal.s16 q11, q5
    subs r12, r12, #1
    vpadal.s16 q15, q6
    .else
    vld1.8 {{q4}}, [r3, :128]!
    vmull.s8 q5, d0, d6
    vmull.s8 q6, d0, d8
    vmlal.s8 q5, d1, d7
    vld1.8 {{q3}}, [r3, :128]!
    vmlal.s8 q6, d1, d9
    vld1.8 {{q4}}, [r3, :128]!
    vmull.s8 q7, d0, d6
    vpadal.s16 q8, q5
    vmull.s8 q5, d0, d8
    vmlal.s8 q7, d1, d7
    vpadal.s16 q9, q6
    vmlal.s8 q5, d1, d9
    vpadal.s16 q10, q7
    subs r12, r12, #1
    vpadal.s16 q11, q5
    .endif
    bne 4b
    add r10, r10, r7
    subs r11, r11, #1
    bne 3b
    add r4, r4, lr
    subs r5, r5, #1
    bne 2b

    @ Four lanes of each sum to one; q8 and q9 the pixels.
    vpadd.i32 d0, d16, d17
    vpadd.i32 d1, d18, d19
    vpadd.i32 d2, d20, d21
    vpadd.i32 d3, d22, d23
    vpadd.i32 d16, d0, d1
    vpadd.i32 d17, d2, d3
    ldr r1, [r0, #{tile_bias}]
    vld1.32 {{q4}}, [r1]
    vadd.i32 q8, q8, q4
    .if \pixels > 1
    vpadd.i32 d0, d24, d25
    vpadd.i32 d1, d26, d27
    vpadd.i32 d2, d28, d29
    vpadd.i32 d3, d30, d31
    vpadd.i32 d18, d0, d1
    vpadd.i32 d19, d2, d3
    vadd.i32 q9, q9, q4
    .endif
    ldr r1, [r0, #{tile_sums}]
    cmp r1, #0
    bne 5f
    milad_int8_constants {tile_zero}, {tile_low}, {tile_high}
    ldr r1, [r0, #{tile_multiplier}]
    vld1.32 {{q4}}, [r1]
    milad_int8_scale q8, q4
    .if \pixels > 1
    milad_int8_scale q9, q4
    .endif
    ldr r1, [r0, #{tile_output}]
    ldr r2, [r0, #{tile_output_step}]
    vqmovn.s32 d16, q8
    vqmovn.s32 d17, q9
    vqmovun.s16 d16, q8
    vmax.u8 d16, d16, d10
    vmin.u8 d16, d16, d11
    vst1.32 {{d16[0]}}, [r1], r2
    .if \pixels > 1
    vst1.32 {{d16[1]}}, [r1]
    .endif
    b 6f
5:
    vst1.32 {{q8}}, [r1]!
    .if \pixels > 1
    vst1.32 {{q9}}, [r1]
    .endif
6:
    vpop {{d8-d15}}
    pop {{r4-r11, pc}}
    .endm

    milad_int8_tile 1
    milad_int8_tile 2

    @ ---- depthwise: 16 channels. q0 and q1 the weights of two taps, q2 and q3 their codes less 128, q4 and q5 their products' sums,
    @ q8 … q11 and q12 … q15 the sums of the first and second pixel.
    .macro milad_int8_taps first, second, third, fourth
    veor q2, q2, q6
    veor q3, q3, q6
    vmull.s8 q4, d4, d0
    vmull.s8 q5, d5, d1
    vmlal.s8 q4, d6, d2
    vmlal.s8 q5, d7, d3
    .endm

    .macro milad_int8_widen first, second, third, fourth
    vaddw.s16 \first, \first, d8
    vaddw.s16 \second, \second, d9
    vaddw.s16 \third, \third, d10
    vaddw.s16 \fourth, \fourth, d11
    .endm

    @ Codes of 16 channels to r1, r6 bytes of them; goes on by the output's step. Changes r11, r12.
    .macro milad_int8_store first, second, third, fourth, d0, d1
    ldr r12, [r0, #{span_multiplier}]
    vld1.32 {{q4}}, [r12]!
    milad_int8_scale \first, q4
    vld1.32 {{q4}}, [r12]!
    milad_int8_scale \second, q4
    vld1.32 {{q4}}, [r12]!
    milad_int8_scale \third, q4
    vld1.32 {{q4}}, [r12]
    milad_int8_scale \fourth, q4
    vqmovn.s32 d8, \first
    vqmovn.s32 d9, \second
    vqmovun.s16 \d0, q4
    vqmovn.s32 d8, \third
    vqmovn.s32 d9, \fourth
    vqmovun.s16 \d1, q4
    vmax.u8 \d0, \d0, d10
    vmax.u8 \d1, \d1, d10
    vmin.u8 \d0, \d0, d11
    vmin.u8 \d1, \d1, d11
    mov r12, r1
    cmp r6, #8
    bhs 7f
    vst1.32 {{\d0[0]}}, [r12]
    b 9f
7:
    vst1.8 {{\d0}}, [r12]!
    beq 9f
    cmp r6, #16
    beq 8f
    vst1.32 {{\d1[0]}}, [r12]
    b 9f
8:
    vst1.8 {{\d1}}, [r12]
9:
    add r1, r1, r7
    .endm

    milad_int8_function milad_int8_conv_neon32_span
    push {{r4-r11, lr}}
    vpush {{d8-d15}}
    ldr r1, [r0, #{span_output}]
    ldr r2, [r0, #{span_input}]
    ldr r3, [r0, #{span_pixels}]
    ldr r6, [r0, #{span_bytes}]
    ldr r7, [r0, #{span_output_step}]
    ldr r8, [r0, #{span_sums}]
    ldr r9, [r0, #{span_input_step}]
2:
    vmov.i8 q6, #0x80
    ldr r4, [r0, #{span_bias}]
    vld1.32 {{d16-d19}}, [r4]!
    vld1.32 {{d20-d23}}, [r4]
    ldr r4, [r0, #{span_taps}]
    ldr r5, [r0, #{span_weights}]
    ldr lr, [r0, #{span_groups}]
    cmp r3, #1
    beq 4f
    vmov q12, q8
    vmov q13, q9
    vmov q14, q10
    vmov q15, q11
    .p2align 4
3:
    ldm r4!, {{r10, r11}}
    vld2.8 {{d0-d3}}, [r5]!
    add r10, r2, r10
    add r11, r2, r11
    vld1.8 {{q2}}, [r10], r9
    vld1.8 {{q3}}, [r11], r9
    milad_int8_taps
    vld1.8 {{q2}}, [r10]
    vld1.8 {{q3}}, [r11]
    milad_int8_widen q8, q9, q10, q11
    milad_int8_taps
    subs lr, lr, #1
    milad_int8_widen q12, q13, q14, q15
    bne 3b
    b 5f
    .p2align 4
4:
    ldm r4!, {{r10, r11}}
    vld2.8 {{d0-d3}}, [r5]!
    add r10, r2, r10
    add r11, r2, r11
    vld1.8 {{q2}}, [r10]
    vld1.8 {{q3}}, [r11]
    milad_int8_taps
    subs lr, lr, #1
    milad_int8_widen q8, q9, q10, q11
    bne 4b
5:
    cmp r8, #0
    bne 6f
    milad_int8_constants {span_zero}, {span_low}, {span_high}
    milad_int8_store q8, q9, q10, q11, d16, d17
    cmp r3, #1
    beq 10f
    milad_int8_store q12, q13, q14, q15, d24, d25
    b 1f
6:
    vst1.32 {{d16-d19}}, [r8]!
    vst1.32 {{d20-d23}}, [r8]!
    cmp r3, #1
    beq 10f
    vst1.32 {{d24-d27}}, [r8]!
    vst1.32 {{d28-d31}}, [r8]!
1:
    add r2, r2, r9, lsl #1
    subs r3, r3, #2
    bne 2b
10:
    vpop {{d8-d15}}
    pop {{r4-r11, pc}}
    .popsection
