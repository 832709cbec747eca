"""Mutations of the products in C: tiles and their edges, narrow operands, bits.

Applied by mutations.py; each is (file, old text, new text, what).
"""

MUTATIONS = [
    # -- products and their edges
    (
        "src_c/kernels/product.h",
        "for (; k < depth; k++) {",
        "for (; k < depth - (depth > 9); k++) {",
        "the last k of a product is dropped",
    ),
    (
        "src_c/kernels/product.h",
        "size_t bytes = (size_t)(p->columns - run->vector * V) * sizeof(real);",
        "size_t bytes = (size_t)(p->columns - run->vector * V - 1) * sizeof(real);",
        "the last column of an edge tile is not written",
    ),
    (
        "src_c/recurrent/packing.c",
        "        ptrdiff_t end = least(first + lanes, m->units);",
        "        ptrdiff_t end = least(first + lanes, m->units - m->units % 2);",
        "the last unit of an odd H is not packed",
    ),
    (
        "src_c/kernels/step.h",
        "        at.saved += row;",
        "        at.saved += 0;",
        "rows of a second tile save over those of the first",
    ),
    (
        "src_c/kernels/gradient.h",
        "         row -= FC_GRADIENT_DEPTH) {\n        ptrdiff_t rows = g->rows - row;",
        "         row = -1) {\n        ptrdiff_t rows = g->rows - row;",
        "weight gradients stop after the last block of pairs",
    ),
    (
        "src_c/recurrent/stack_backward.c",
        "job.low = job.begin ? (first + block - 1) / block * block : 0;",
        "job.low = first;",
        "blocks of a recomputed chunk begin anywhere",
    ),
    (
        "src_c/recurrent/stack_backward.c",
        "                (size_t)(job.high - after) * slots);",
        "                (size_t)0 * (job.high - after) * slots);",
        "pairs of a begun block are not moved to the next chunk",
    ),
    (
        "src_c/kernels/product.h",
        "tile = fc_tiles[rows][run->width][run->panels];",
        "tile = fc_tiles[rows - (rows > 2)][run->width][run->panels];",
        "the last row of a tile of three and more is left out",
    ),
    (
        "src_c/kernels/walk.h",
        "for (ptrdiff_t row = 0; row < last; row += rows) {",
        "for (ptrdiff_t row = 0; row + 3 * !!row < last; row += rows) {",
        "the remainder rows of a product are left out",
    ),
    (
        "src_c/kernels/product.h",
        "while (most > 1 && (left < most ||",
        "while (most > 1 && (left + 1 < most ||",
        "a tile takes a panel more than there are",
    ),
    (
        "src_c/kernels/walk.h",
        "if ((run->vector + run->width * run->panels) * V > p->columns)",
        "if ((run->vector + run->width * run->panels) * V > p->columns + 1)",
        "a tile writes one lane more than there are columns",
    ),
    (
        "src_c/kernels/product.h",
        "memcpy(tile_rows[r], (const real *)out[r] + column, bytes);",
        "memcpy(tile_rows[r], (const real *)out[r] + column, bytes - sizeof(real));",
        "the last column of an edge tile is not added to",
    ),
    (
        "src_c/kernels/walk.h",
        "next_operands(&operands, w, p->a + done, p->rows - done, p->scratch, false);",
        "next_operands(&operands, w, p->a, p->rows - done, p->scratch, false);",
        "narrow products read the first block of rows again",
    ),
    (
        "src_c/kernels/product.h",
        ".row_scale = operands->scale + row,",
        ".row_scale = operands->scale,",
        "int8: every tile takes the scales of the first rows",
    ),
    (
        "src_c/kernels/step.h",
        """rows = next_rows(t->rows - row, w->width);
            run_tile(""",
        """rows = next_rows(t->rows - row, w->width);
            if (row && rows < 4)
                break;
            run_tile(""",
        "the remainder rows of a step are left out",
    ),
    (
        "src_c/kernels/step.h",
        "at.units = reals / gates;",
        "at.units = reals / gates - V * (vector > 0);",
        "the cell leaves out the last vector of units of a tile",
    ),
    (
        "src_c/kernels/step.h",
        "next_operands(&operands, w, job->a + row, job->t->rows - row, job->scratch,",
        "next_operands(&operands, w, job->a, job->t->rows - row, job->scratch,",
        "narrow steps read the first block of rows again",
    ),
    (
        "src_c/kernels/operand.h",
        "to[i / 2] = bf16_of(x[i]) | (i + 1 < n ?",
        "to[i / 2] = bf16_of(x[i]) | (i + 2 < n ?",
        "bf16: the last of an even number of k is dropped",
    ),
    (
        "src_c/kernels/operand.h",
        "for (; i < n; i += 2)",
        "for (; i + 1 < n; i += 2)",
        "bf16: the last of an odd number of k is dropped",
    ),
    (
        "src_c/kernels/operand.h",
        "for (; i < n; i += 4) {",
        "for (; i + 1 < n; i += 4) {",
        "int8: a k that is alone in its group is dropped",
    ),
    (
        "src_c/kernels/operand.h",
        "int32_t q = i + j < n ? int8_of(x[i + j], inverse) : 0;",
        "int32_t q = i + j + 1 < n ? int8_of(x[i + j], inverse) : 0;",
        "int8: the last k is dropped",
    ),
    (
        "src_c/kernels/operand.h",
        "for (ptrdiff_t i = 0; i < n; i += V)\n        most = vlarger(",
        "for (ptrdiff_t i = 0; i + V <= n; i += V)\n        most = vlarger(",
        "int8: the last k has no part in the scale of its row",
    ),
    (
        "src_c/kernels/pack.h",
        "for (ptrdiff_t k = 0; k < from->count_k; k++) {\n            ptrdiff_t at",
        "for (ptrdiff_t k = 0; k + 1 < from->count_k; k++) {\n            ptrdiff_t at",
        "the last k of narrow weights is not packed",
    ),
    (
        "src_c/kernels/pack.h",
        "for (ptrdiff_t lane = 0; lane < from->lanes; lane++) {\n        const",
        "for (ptrdiff_t lane = 0; lane + 1 < from->lanes; lane++) {\n        const",
        "the last lane of narrow weights is not packed",
    ),
    (
        "src_c/kernels/pack.h",
        "for (ptrdiff_t k = block; k < end; k++)",
        "for (ptrdiff_t k = block; k < end - !!block; k++)",
        "the last k of a later block of weights is not packed",
    ),
    (
        "src_c/kernels/pack.h",
        "if (from->lanes == V && from->lane_stride == 1) {",
        "if (from->lane_stride == 1) {",
        "lanes that do not exist are packed",
    ),
    (
        "src_c/kernels/gradient.h",
        "for (ptrdiff_t row = fc_last_block(g->rows, FC_GRADIENT_DEPTH); row >= 0;",
        "for (ptrdiff_t row = fc_last_block(g->rows, FC_GRADIENT_DEPTH); row > 0;",
        "the first block of pairs is not in the weight gradients",
    ),
    (
        "src_c/kernels/gradient.h",
        "ptrdiff_t rows = g->rows - row;",
        "ptrdiff_t rows = g->rows - row - 1;",
        "the last pair is not in the weight gradients",
    ),
    (
        "src_c/kernels/gradient.h",
        "for (ptrdiff_t u = g->first_unit; u < g->last_unit; u += units) {",
        "for (ptrdiff_t u = g->first_unit; u == g->first_unit; u += units) {",
        "weight gradients stop after the first block of units",
    ),
    (
        "src_c/simd/simd.h",
        "memcpy(lane, from, (size_t)there * sizeof(real));",
        "memcpy(lane, from, (size_t)(there - 1) * sizeof(real));",
        "a part of a vector is loaded without its last lane",
    ),
    (
        "src_c/kernels/gradient.h",
        "size_t bytes = (size_t)(x->k - column) * sizeof(real);",
        "size_t bytes = (size_t)(x->k - column - 1) * sizeof(real);",
        "the last column of a weight gradient is not written",
    ),
    (
        "src_c/kernels/gradient.h",
        "for (ptrdiff_t u = 0; u < units; u += m) {",
        "for (ptrdiff_t u = 0; u + 3 * !!u < units; u += m) {",
        "the remainder units of a weight gradient are left out",
    ),
    (
        "src_c/kernels/gradient.h",
        "for (; first < units; first++) { /* a row may end here */",
        "for (; first + 1 < units; first++) { /* a row may end here */",
        "the last unit has no gradient of its bias",
    ),
    (
        "src_c/kernels/gradient.h",
        "for (ptrdiff_t u = 0; u < units; u += V) {",
        "for (ptrdiff_t u = 0; u + V <= units; u += V) {",
        "units that fill no vector are not copied for the weight gradients",
    ),
    (
        "src_c/kernels/gradient.h",
        "row + 1 < rows ? (const real *)x[row + 1] + column : NULL;",
        "row + 2 < rows ? (const real *)x[row + 1] + column : NULL;",
        "bf16: the last of an even number of pairs has no x",
    ),
    (
        "src_c/kernels/gradient.h",
        "load_group(one, row + 1 < rows ? one + d_row : NULL, 0, units - u));",
        "load_group(one, row + 2 < rows ? one + d_row : NULL, 0, units - u));",
        "bf16: the last of an even number of pairs has no gates",
    ),
    (
        "src_c/recurrent/carry.c",
        "    ptrdiff_t begin = (first + block - 1) / block * block;",
        "    ptrdiff_t begin = first;",
        "a segment's border ends a block of pairs",
    ),
    (
        "fastcell/layers/segments.py",
        "state = self._borders[i - 1] if i else",
        "state = self._borders[i - 2] if i > 1 else",
        "a segment begins from the states of the one before",
    ),
    # -- bits: the values stay within their tolerances
    (
        "src_c/kernels/product.h",
        "vreal result = tile_result(job, r, first + v, acc[r][v]);",
        """vreal one = vset1(!transposed && m == 1);
            vreal result = tile_result(job, r, first + v, acc[r][v] + one - one);""",
        "a tile of one row rounds otherwise",
    ),
    (
        "src_c/kernels/product.h",
        "vreal result = tile_result(job, r, first + v, acc[r][v]);",
        """acc[r][v] = acc[r][v] + vset1(p > 1) - vset1(p > 1);
            vreal result = tile_result(job, r, first + v, acc[r][v]);""",
        "a tile of several panels rounds otherwise",
    ),
    (
        "src_c/kernels/product.h",
        "if (accumulate)\n                result",
        """if (transposed && m % 2)
                result = result + vset1(1) - vset1(1);
            if (accumulate)
                result""",
        "weight gradients round by the number of units of a tile",
    ),
    # -- 16 registers, AVX2 without an instruction
    (
        "src_c/kernels/walk.h",
        "row < operands->rows;\n         row += split.rows)",
        "row + 3 * !!split.tiles < operands->rows;\n         row += split.rows)",
        "16 registers: the last rows behind tiles of five and six are left out",
    ),
    (
        "src_c/kernels/walk.h",
        "one.vector += i * run.width;",
        "one.vector += 0 * run.width;",
        "16 registers: the second panel of a run is the first again",
    ),
    (
        "src_c/kernels/walk.h",
        "rows == TWICE_FOUR)\n        return split;",
        "rows == TWICE_FOUR)\n        return (fc_split){.few = 4, .rows = 4};",
        "16 registers: of eight rows, four are left out",
    ),
    (
        "src_c/kernels/product.h",
        "const ptrdiff_t column = job->column + first * V;",
        "const ptrdiff_t column = job->column;",
        "16 registers: the second half of a tile is stored over the first",
    ),
    (
        "src_c/kernels/product.h",
        "    tile_body(4, 2, 3, FC_SECOND_HALF, false, true, &second);",
        "    tile_body(4, 2, 3, FC_FIRST_HALF, false, true, &second);",
        "16 registers: four rows that fetch ahead make half of their columns twice",
    ),
    (
        "src_c/kernels/gradient.h",
        "j < FC_PARTS; j++, group += m)",
        "j < FC_PARTS; j++, group += V)",
        "16 registers: units are copied as far apart as lanes",
    ),
    (
        "src_c/kernels/operand.h",
        "vswap_pairs(rounded), n + n % 2 - i);",
        "vswap_pairs(rounded), n - 1 - i);",
        "bf16 by AVX2: the last k that fill no vector lose one",
    ),
    (
        "src_c/simd/avx2_narrow.h",
        "sizes = _mm256_abs_epi8(bytes);",
        "sizes = bytes;",
        "int8 by AVX2: negative numbers have no size",
    ),
    (
        "src_c/simd/avx2_narrow.h",
        '"x"(pairs), "x"(vload((const real *)fc_first)));',
        '"x"(pairs), "x"(vload((const real *)fc_second)));',
        "bf16 by AVX2: one row has the first numbers of no pair",
    ),
    (
        "src_c/kernels/gradient.h",
        "const real *from = j == 0 ? second : first;",
        "const real *from = j == 1 ? second : first;",
        "bf16 by AVX2: a gradient adds the first of a pair first",
    ),
    (
        "src_c/kernels/operand.h",
        "return scale >= FLT_MIN ? 1 / scale : 0;",
        "return scale > 0 ? 1 / scale : 0;",
        "int8: the scale of tiny numbers has an infinite inverse",
    ),
    (
        "src_c/kernels/operand.h",
        "b += (0x7fff + (b >> 16 & 1)) & ~nan;",
        "b += 0x7fff + (b >> 16 & 1);",
        "bf16: NaN with all bits set is rounded to a number",
    ),
    (
        "src_c/simd/avx2_narrow.h",
        "_mm256_maddubs_epi16((__m256i)a.sizes, signed_w)",
        "_mm256_maddubs_epi16(_mm256_xor_si256((__m256i)a.numbers, "
        "_mm256_set1_epi8(-128)), (__m256i)w)",
        "int8 by AVX2: products of numbers plus 128 do not fit 16 bits",
    ),
]
