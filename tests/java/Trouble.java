import java.util.ArrayList;
import java.util.List;

/**
 * A Java program in trouble. Usage: Trouble leak|allocate|work
 *
 * <pre>
 * leak      keeps a part of all that it makes, until little of its heap is free, and goes on working there
 * allocate  makes garbage as fast as it can
 * work      computes with two threads, and makes a little garbage
 * </pre>
 *
 * The end of standard input ends it, so it cannot outlive whoever started it.
 */
public final class Trouble {
    static volatile Object sink;
    static volatile double result;

    public static void main(String[] args) throws Exception {
        String kind = args[0];
        int threads = kind.equals("work") ? 2 : 1;
        for (int number = 0; number < threads; number++) {
            Thread thread = new Thread(() -> run(kind), kind + "-" + number);
            thread.setDaemon(true);
            thread.start();
        }
        System.out.println("ready");
        while (System.in.read() >= 0) {
            // Lives on.
        }
    }

    private static void run(String kind) {
        try {
            if (kind.equals("leak")) {
                leak();
            } else if (kind.equals("allocate")) {
                allocate();
            } else {
                work();
            }
        } catch (InterruptedException end) {
            Thread.currentThread().interrupt();
        }
    }

    private static void leak() throws InterruptedException {
        Runtime runtime = Runtime.getRuntime();
        List<byte[]> kept = new ArrayList<byte[]>();
        long held = 0;
        while (true) {
            for (int i = 0; i < 64; i++) {
                sink = new byte[16 << 10];
            }
            for (int i = 0; i < 16 && held < runtime.maxMemory() * 90 / 100; i++) {
                kept.add(new byte[8 << 10]);
                held += 8 << 10;
            }
            Thread.sleep(50);
        }
    }

    private static void allocate() throws InterruptedException {
        List<byte[]> kept = new ArrayList<byte[]>();
        while (true) {
            for (int i = 0; i < 20_000; i++) {
                byte[] block = new byte[1024];
                sink = block;
                if (i % 50 == 0) {
                    kept.add(block);
                }
            }
            if (kept.size() > 40_000) {
                kept = new ArrayList<byte[]>();
            }
            Thread.sleep(4);
        }
    }

    private static void work() {
        double sum = 0;
        for (long i = 1; ; i++) {
            sum += Math.sqrt(i) / (i % 97 + 1);
            if (i % 1_000_000 == 0) {
                sink = new byte[256 << 10];
                result = sum;
            }
        }
    }
}
