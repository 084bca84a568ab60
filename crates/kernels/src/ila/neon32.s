@ The tiles of local attention for 32-bit ARM with NEON; see neon32.rs for registers and tiles.rs for what they compute.
@ Names in braces are filled in by global_asm!; braces that belong to the assembler are doubled. `rows` is a set of query rows:
@ 1 the first, 2 the second, 3 both. All strides are in elements of 4 bytes.
    .pushsection .text.milad_ila_neon, "ax", %progbits
    .syntax unified
    .arm
    .arch armv7-a
    .fpu neon

    .macro milad_function name
    .p2align 4
    .globl \name
    .hidden \name
    .type \name, %function
\name:
    .endm

    @ One key or value \x for the sums \a and \b.
    .macro milad_mac rows, a, b, x
    .if \rows & 1
    vmla.f32 \a, q0, \x
    .endif
    .if \rows & 2
    vmla.f32 \b, q1, \x
    .endif
    .endm

    @ \n keys or values from r3 on, \step bytes (a register) apart; each is loaded one step before it is used.
    .macro milad_macs rows, n, step
    vld1.32 {{q2}}, [r3], \step
    .if \n > 1
    vld1.32 {{q3}}, [r3], \step
    .endif
    milad_mac \rows, q4, q5, q2
    .if \n > 2
    vld1.32 {{q2}}, [r3], \step
    .endif
    .if \n > 1
    milad_mac \rows, q6, q7, q3
    .endif
    .if \n > 3
    vld1.32 {{q3}}, [r3], \step
    .endif
    .if \n > 2
    milad_mac \rows, q8, q9, q2
    .endif
    .if \n > 4
    vld1.32 {{q2}}, [r3], \step
    .endif
    .if \n > 3
    milad_mac \rows, q10, q11, q3
    .endif
    .if \n > 4
    milad_mac \rows, q12, q13, q2
    .endif
    .endm

    @ Runs \what for the sums in use: rows, the two sums, and their halves.
    .macro milad_sums what, rows, n
    \what \rows, q4, q5, d8, d9, d10, d11
    .if \n > 1
    \what \rows, q6, q7, d12, d13, d14, d15
    .endif
    .if \n > 2
    \what \rows, q8, q9, d16, d17, d18, d19
    .endif
    .if \n > 3
    \what \rows, q10, q11, d20, d21, d22, d23
    .endif
    .if \n > 4
    \what \rows, q12, q13, d24, d25, d26, d27
    .endif
    .endm

    @ ---- queries, multiplied with the factor
    milad_function milad_ila_load_queries
    push {{r4-r8, lr}}
    ldr r1, [r0, #{load_source}]
    ldr r2, [r0, #{load_source_stride}]
    lsl r2, r2, #2
    ldr r5, [r0, #{load_source_row}]
    lsl r5, r5, #2
    ldr r3, [r0, #{load_target}]
    ldr r4, [r0, #{load_target_stride}]
    lsl r4, r4, #2
    ldr lr, [r0, #{load_channels}]
    add r12, r0, #{load_factor}
    vld1.32 {{d2[], d3[]}}, [r12]
    ldr r12, [r0, #{load_rows}]
2:
    mov r6, r1
    mov r7, r3
    mov r8, r12
3:
    vld1.32 {{q0}}, [r6], r5
    vmul.f32 q0, q0, q1
    vst1.32 {{q0}}, [r7]!
    subs r8, r8, #1
    bne 3b
    add r1, r1, r2
    add r3, r3, r4
    subs lr, lr, #1
    bne 2b
    pop {{r4-r8, pc}}

    @ ---- logits
    .macro milad_bias rows, a, b, a0, a1, b0, b1
    .if \rows & 1
    vld1.32 {{\a0[], \a1[]}}, [r4], r6
    .endif
    .if \rows & 2
    vld1.32 {{\b0[], \b1[]}}, [r5], r6
    .endif
    .endm

    .macro milad_keep rows, a, b, a0, a1, b0, b1
    vld1.32 {{q2}}, [r1]!
    vbif \a, q15, q2
    .if \rows & 2
    vbif \b, q15, q2
    .endif
    .endm

    .macro milad_max rows, a, b, a0, a1, b0, b1
    vmax.f32 q14, q14, \a
    .if \rows & 2
    vmax.f32 q15, q15, \b
    vst1.32 {{\a0, \a1, \b0, \b1}}, [r2], r3
    .else
    vst1.32 {{\a0, \a1}}, [r2], r3
    .endif
    .endm

    .macro milad_logits rows, n
    milad_function milad_ila_logits_\rows\()_\n
    push {{r4-r9, lr}}
    vpush {{d8-d15}}
    mov r6, #4
    ldr r4, [r0, #{logits_bias}]
    ldr r5, [r0, #{logits_bias_step}]
    sub r5, r4, r5, lsl #2
    milad_sums milad_bias, \rows, \n
    ldr r2, [r0, #{logits_q}]
    ldr r8, [r0, #{logits_q_stride}]
    lsl r8, r8, #2
    ldr r3, [r0, #{logits_k}]
    ldr r7, [r0, #{logits_k_stride}]
    sub r7, r7, #\n
    lsl r7, r7, #2
    ldr r9, [r0, #{logits_channels}]
2:
    .if \rows == 3
    vld1.32 {{q0, q1}}, [r2], r8
    .else
    vld1.32 {{q0}}, [r2], r8
    .endif
    milad_macs \rows, \n, r6
    add r3, r3, r7
    subs r9, r9, #1
    bne 2b
    ldr r1, [r0, #{logits_mask}]
    cmp r1, #0
    beq 3f
    vmvn.i32 q15, #0x007fffff
    milad_sums milad_keep, \rows, \n
3:
    ldr r1, [r0, #{logits_max}]
    ldr r2, [r0, #{logits_scores}]
    ldr r3, [r0, #{logits_scores_stride}]
    lsl r3, r3, #2
    .if \rows == 3
    vld1.32 {{q14, q15}}, [r1]
    .else
    vld1.32 {{q14}}, [r1]
    .endif
    milad_sums milad_max, \rows, \n
    .if \rows == 3
    vst1.32 {{q14, q15}}, [r1]
    .else
    vst1.32 {{q14}}, [r1]
    .endif
    vpop {{d8-d15}}
    pop {{r4-r9, pc}}
    .endm

    .irp n, 1, 2, 3, 4, 5
    milad_logits 1, \n
    milad_logits 3, \n
    .endr

    @ ---- exponentials, two vectors at a time; q0 and q1 x and then f, q2 and q3 t, q4 to q7 the polynomial in turns

    .macro milad_horner p, q, r, s, constant
    vdup.32 \q, \constant
    vdup.32 \s, \constant
    vmla.f32 \q, \p, q0
    vmla.f32 \s, \r, q1
    .endm

    milad_function milad_ila_exponentials
    push {{r4, lr}}
    vpush {{d8-d15}}
    ldr r1, [r0, #{exponentials_scores}]
    ldr r2, [r0, #{exponentials_stride}]
    lsl r2, r2, #2
    ldr r3, [r0, #{exponentials_count}]
    ldr r4, [r0, #{exponentials_max}]
    vld1.32 {{q8}}, [r4]
    vmov.i32 q9, #0
    vmov.i32 q10, #0
    adr r4, 5f
    vld1.32 {{d22[], d23[]}}, [r4]!
    vld1.32 {{d24[], d25[]}}, [r4]!
    vld1.32 {{d26, d27, d28, d29}}, [r4]
    cmp r3, #1
    beq 3f
2:
    add r4, r1, r2
    vld1.32 {{q0}}, [r1]
    vld1.32 {{q1}}, [r4]
    vsub.f32 q0, q0, q8
    vsub.f32 q1, q1, q8
    vmax.f32 q0, q0, q11
    vmax.f32 q1, q1, q11
    vadd.f32 q2, q0, q12
    vadd.f32 q3, q1, q12
    vsub.f32 q4, q2, q12
    vsub.f32 q6, q3, q12
    vsub.f32 q0, q0, q4
    vsub.f32 q1, q1, q6
    vdup.32 q4, d26[0]
    vdup.32 q6, d26[0]
    milad_horner q4, q5, q6, q7, d26[1]
    milad_horner q5, q4, q7, q6, d27[0]
    milad_horner q4, q5, q6, q7, d27[1]
    milad_horner q5, q4, q7, q6, d28[0]
    milad_horner q4, q5, q6, q7, d28[1]
    milad_horner q5, q4, q7, q6, d29[0]
    vshl.i32 q2, q2, #23
    vshl.i32 q3, q3, #23
    vadd.i32 q4, q4, q2
    vadd.i32 q6, q6, q3
    vst1.32 {{q4}}, [r1]
    vst1.32 {{q6}}, [r4]
    vadd.f32 q9, q9, q4
    vadd.f32 q10, q10, q6
    add r1, r4, r2
    sub r3, r3, #2
    cmp r3, #1
    bgt 2b
    blt 4f
3:
    @ The last of an odd number; the second half of each pair of steps does nothing that is used.
    vld1.32 {{q0}}, [r1]
    vsub.f32 q0, q0, q8
    vmax.f32 q0, q0, q11
    vadd.f32 q2, q0, q12
    vsub.f32 q4, q2, q12
    vsub.f32 q0, q0, q4
    vmov q1, q0
    vdup.32 q4, d26[0]
    vdup.32 q6, d26[0]
    milad_horner q4, q5, q6, q7, d26[1]
    milad_horner q5, q4, q7, q6, d27[0]
    milad_horner q4, q5, q6, q7, d27[1]
    milad_horner q5, q4, q7, q6, d28[0]
    milad_horner q4, q5, q6, q7, d28[1]
    milad_horner q5, q4, q7, q6, d29[0]
    vshl.i32 q2, q2, #23
    vadd.i32 q4, q4, q2
    vst1.32 {{q4}}, [r1]
    vadd.f32 q9, q9, q4
4:
    vadd.f32 q9, q9, q10
    ldr r4, [r0, #{exponentials_sum}]
    vst1.32 {{q9}}, [r4]
    vpop {{d8-d15}}
    pop {{r4, pc}}
    .p2align 3
5:
    .word {least}, {round}
    .word {c5}, {c4}, {c3}, {c2}, {c1}, {c0}, {one}, 0

    @ ---- values
    .macro milad_zero rows, a, b, a0, a1, b0, b1
    vmov.i32 \a, #0
    vmov.i32 \b, #0
    .endm

    .macro milad_scale rows, a, b, a0, a1, b0, b1
    vmul.f32 \a, \a, q0
    vmul.f32 \b, \b, q1
    .endm

    .macro milad_first rows, a, b, a0, a1, b0, b1
    vst1.32 {{\a}}, [r1], r3
    .endm

    .macro milad_second rows, a, b, a0, a1, b0, b1
    vst1.32 {{\b}}, [r1], r3
    .endm

    @ r6 key rows; r4 the weights, r2 the slots, r11 v, r10 the window, r7 and r8 the steps from channel to channel and back.
    .macro milad_segment rows, n
6:
    ldr r3, [r2], #4
    add r3, r11, r3, lsl #2
    mov r9, r10
7:
    .if \rows == 3
    vld1.32 {{q0, q1}}, [r4]!
    .else
    .if \rows == 1
    vld1.32 {{q0}}, [r4]
    .else
    add r12, r4, #16
    vld1.32 {{q1}}, [r12]
    .endif
    add r4, r4, #32
    .endif
    milad_macs \rows, \n, r7
    add r3, r3, r8
    subs r9, r9, #1
    bne 7b
    subs r6, r6, #1
    bne 6b
    .endm

    .macro milad_values n
    milad_function milad_ila_values_\n
    push {{r4-r11, lr}}
    vpush {{d8-d15}}
    milad_sums milad_zero, 3, \n
    ldr r1, [r0, #{values_segments}]
    ldr r2, [r0, #{values_slots}]
    ldr r4, [r0, #{values_weights}]
    ldr r5, [r0, #{values_segment_count}]
    ldr r7, [r0, #{values_v_stride}]
    lsl r7, r7, #2
    mov r12, #\n
    mul r8, r7, r12
    rsb r8, r8, #4
    ldr r10, [r0, #{values_window}]
    ldr r11, [r0, #{values_v}]
2:
    ldr r6, [r1, #{segment_slots}]
    ldr r9, [r1, #{segment_first}]
    ldr r12, [r1, #{segment_rows}]
    add r1, r1, #{segment_size}
    cmp r12, #2
    beq 3f
    cmp r9, #0
    beq 4f
    milad_segment 2, \n
    b 5f
3:
    milad_segment 3, \n
    b 5f
4:
    milad_segment 1, \n
5:
    subs r5, r5, #1
    bne 2b
    ldr r1, [r0, #{values_inverse}]
    vld1.32 {{q0, q1}}, [r1]
    milad_sums milad_scale, 3, \n
    ldr r2, [r0, #{values_out}]
    ldr r3, [r0, #{values_out_stride}]
    lsl r3, r3, #2
    mov r1, r2
    milad_sums milad_first, 3, \n
    ldr r12, [r0, #{values_rows}]
    cmp r12, #2
    bne 8f
    ldr r12, [r0, #{values_out_row}]
    add r1, r2, r12, lsl #2
    milad_sums milad_second, 3, \n
8:
    vpop {{d8-d15}}
    pop {{r4-r11, pc}}
    .endm

    .irp n, 1, 2, 3, 4, 5
    milad_values \n
    .endr

    @ What the target was compiled for: nothing after this may use NEON by accident.
    .fpu vfpv3-d16
    .popsection
