import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayDeque;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Allocates, and tells how much. Usage: Churn SECONDS MEGABYTES_PER_SECOND LIVE_MEGABYTES SYSTEM_GC_SECONDS [BYTES]
 *
 * <p>A rate of 0 is as fast as it goes. Every so many seconds it makes four large arrays and calls System.gc(); 0 is never. All other arrays have so many bytes, or
 * else from 64 to 4095. Waits for a line on standard
 * input, allocates, collects once more, prints "allocated BYTES", and lives until standard input ends.
 */
public final class Churn {
    static volatile Object sink;

    public static void main(String[] args) throws Exception {
        long seconds = Long.parseLong(args[0]);
        long rate = Long.parseLong(args[1]) << 20;
        int live = Integer.parseInt(args[2]) << 20;
        long collectEvery = Long.parseLong(args[3]) * 1_000_000_000L;
        int size = args.length > 4 ? Integer.parseInt(args[4]) : 0;
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        System.out.println("ready");
        System.in.read();

        long before = threads.getThreadAllocatedBytes(Thread.currentThread().getId());
        long start = System.nanoTime();
        long end = start + seconds * 1_000_000_000L;
        long collectAt = start + collectEvery;
        long made = 0;
        ArrayDeque<byte[]> kept = new ArrayDeque<byte[]>();
        int keptBytes = 0;
        ThreadLocalRandom random = ThreadLocalRandom.current();
        for (long now = start; now < end; now = System.nanoTime()) {
            for (int i = 0; i < (size > 4096 ? 1 : 64); i++) {
                byte[] block = new byte[size > 0 ? size : random.nextInt(64, 4096)];
                made += block.length + 16;
                if (random.nextInt(16) == 0) {
                    kept.add(block);
                    keptBytes += block.length;
                } else {
                    sink = block;
                }
            }
            while (keptBytes > live) {
                keptBytes -= kept.remove().length;
            }
            if (collectEvery > 0 && now > collectAt) {
                collectAt += collectEvery;
                for (int i = 0; i < 4; i++) {
                    sink = new byte[2 << 20];
                    made += 2 << 20;
                }
                System.gc();
            }
            if (rate > 0) {
                long ahead = made * 1_000 / (rate / 1_000_000) - (now - start);
                if (ahead > 1_000_000) {
                    Thread.sleep(ahead / 1_000_000);
                }
            }
        }
        System.gc();
        System.out.println("allocated " + (threads.getThreadAllocatedBytes(Thread.currentThread().getId()) - before));
        while (System.in.read() >= 0) {
        }
    }
}
