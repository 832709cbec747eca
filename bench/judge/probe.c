/* Two limits of this CPU, one core each: float32 multiply-adds per second, and bytes read
 * per second from a buffer. Compiled for the CPU at hand when it is needed (-march=native);
 * vectors are as wide as that CPU has them.
 */
#define _POSIX_C_SOURCE 200809L
#include <stddef.h>
#include <time.h>

#if defined(__AVX512F__)
enum { WIDTH = 64 };
#elif defined(__AVX__)
enum { WIDTH = 32 };
#else
enum { WIDTH = 16 };
#endif

typedef float vector __attribute__((vector_size(WIDTH), aligned(WIDTH)));

enum { LANES = WIDTH / (int)sizeof(float) };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Twelve independent sums: more than latency times units (4 x 2), and with the two
 * factors few enough for sixteen registers. */
#define SUMS(DO) \
    DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)

int probe_width(void) { return WIDTH * 8; }

/* GFLOP/s of multiply-adds on registers during `seconds`. */
double probe_fma(double seconds)
{
    vector a = {0}, b = {0};
    a += 0.999f;
    b += 1e-3f;
#define DECLARE(k) vector s##k = b * (float)(k + 1);
    SUMS(DECLARE)
    double flop = 0, start = now(), end = start;
    while (end - start < seconds) {
        for (int i = 0; i < 4096; i++) {
#define STEP(k) s##k = s##k * a + b;
            SUMS(STEP)
            /* The compiler must neither merge rounds nor keep fewer sums. */
#define KEEP(k) __asm__ volatile("" : "+x"(s##k));
            SUMS(KEEP)
        }
        flop += 4096.0 * 12 * LANES * 2;
        end = now();
    }
    return flop / (end - start) * 1e-9;
}

/* GB/s of reading `bytes` (a multiple of 1024) at `buffer` again and again. */
double probe_read(const float *buffer, ptrdiff_t bytes, double seconds)
{
    ptrdiff_t vectors = bytes / WIDTH;
    vector s0 = {0}, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    const vector *v = (const vector *)buffer;
    double read = 0, start = now(), end = start;
    while (end - start < seconds) {
        /* About a megabyte between two looks at the clock. */
        ptrdiff_t rounds = bytes < (1 << 20) ? (1 << 20) / bytes : 1;
        for (ptrdiff_t r = 0; r < rounds; r++) {
            for (ptrdiff_t i = 0; i < vectors; i += 8) {
                s0 += v[i], s1 += v[i + 1], s2 += v[i + 2], s3 += v[i + 3];
                s4 += v[i + 4], s5 += v[i + 5], s6 += v[i + 6], s7 += v[i + 7];
            }
            __asm__ volatile("" : "+x"(s0) : : "memory");
        }
        read += (double)rounds * (double)bytes;
        end = now();
    }
    vector sum = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7;
    __asm__ volatile("" : : "x"(sum));
    return read / (end - start) * 1e-9;
}
