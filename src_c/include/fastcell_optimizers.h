/* Rules of optimizers, and clipping.  Part of fastcell.h, which includes it. */
#ifndef FASTCELL_OPTIMIZERS_H
#define FASTCELL_OPTIMIZERS_H

/* A parameter of a model: n elements p, which a step changes, their gradient g, and the
 * state that the rule keeps for them between steps, initialised by the caller. */
typedef struct fc_parameter {
    ptrdiff_t n;
    void *p;
    const void *g;
    void *kept[3]; /* n elements each; NULL if the rule does not use it */
} fc_parameter;

/* A call is one step of a rule on all parameters of a model, `count` arrays.  Threads
 * share the arrays as if they were one; no bit depends on the number of threads.  Each
 * rule begins with the weight decay, g += decay p. */

/*     b = momentum b + share g,  p -= rate b, or with nesterov  p -= rate (g + momentum
 * b) kept: b.  Without it  p -= rate g. */
typedef struct fc_sgd_rule {
    double rate, decay, momentum;
    double share; /* 1 - dampening; 1 in the first step */
    int nesterov;
} fc_sgd_rule;

/*     v = alpha v + (1 - alpha) g^2,  m += (1 - alpha) (g - m)
 *     d = g / (sqrt(max(v - m^2, 0)) + eps),  b = momentum b + d,  p -= rate b
 * kept: v, m, b.  If m is NULL it is 0; if b is NULL, p -= rate d. */
typedef struct fc_rmsprop_rule {
    double rate, decay, alpha, eps, momentum;
} fc_rmsprop_rule;

/*     s += g^2,  p -= rate g / (sqrt(s) + eps)
 * kept: s. */
typedef struct fc_adagrad_rule {
    double rate, decay, eps;
} fc_adagrad_rule;

/* Adam and AdamW:
 *     m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2
 *     p = shrink p - rate m / (sqrt(v) root_correction + eps)
 * kept: m, v, v_max.  If v_max is not NULL, AMSGrad: v_max = max(v_max, v) replaces v
 * in the last line. */
typedef struct fc_adam_rule {
    double beta1, beta2, eps;
    double rate;            /* lr / (1 - beta1^step) */
    double root_correction; /* (1 - beta2^step)^(-1/2) */
    double decay, shrink;   /* weight decay of the gradient; of AdamW: 1 - lr decay */
} fc_adam_rule;

FC_API fc_status fc_sgd(fc_dtype dtype, const fc_sgd_rule *rule, ptrdiff_t count,
                        const fc_parameter *parameters, int threads);
FC_API fc_status fc_rmsprop(fc_dtype dtype, const fc_rmsprop_rule *rule,
                            ptrdiff_t count, const fc_parameter *parameters,
                            int threads);
FC_API fc_status fc_adagrad(fc_dtype dtype, const fc_adagrad_rule *rule,
                            ptrdiff_t count, const fc_parameter *parameters,
                            int threads);
FC_API fc_status fc_adam(fc_dtype dtype, const fc_adam_rule *rule, ptrdiff_t count,
                         const fc_parameter *parameters, int threads);

/* Clipping of arrays, usually gradients; only n and p are used. */

/* *sum = sum of p[i]^2 of all arrays, in double. */
FC_API fc_status fc_sum_of_squares(fc_dtype dtype, ptrdiff_t count,
                                   const fc_parameter *arrays, double *sum,
                                   int threads);
/* p[i] *= factor, rounded to the dtype first. */
FC_API fc_status fc_scale(fc_dtype dtype, double factor, ptrdiff_t count,
                          const fc_parameter *arrays, int threads);
/* Clips p[i] to [-limit, limit]; a NaN stays. */
FC_API fc_status fc_clip(fc_dtype dtype, double limit, ptrdiff_t count,
                         const fc_parameter *arrays, int threads);

#endif
