import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * A JVM in trouble. Usage: Ailing leak MEGABYTES | collect MEGABYTES | allocate | spin THREADS | fill | rest
 *
 * <p>leak keeps so much and collects once a second, as a program does whose heap is full; collect does nothing but collect a heap of
 * so much in small objects; allocate makes garbage as fast as it can; spin wants so many CPUs; fill takes all memory that it can
 * have, outside of the heap, when it is given a line; rest wants nothing. Prints "ready", and lives until standard input ends.
 */
public final class Ailing {
    static volatile Object sink;
    static final List<Object> kept = new ArrayList<Object>();

    public static void main(String[] args) throws Exception {
        int amount = args.length > 1 ? Integer.parseInt(args[1]) : 0;
        Thread trouble = null;
        if (args[0].equals("leak")) {
            for (int i = 0; i < amount; i++) {
                kept.add(new byte[1 << 20]);
            }
            trouble = new Thread(() -> collect(1_000));
        } else if (args[0].equals("collect")) {
            // 16 bytes of header and 48 of data each: many objects make a collection long.
            for (int i = 0; i < amount << 14; i++) {
                kept.add(new byte[48]);
            }
            trouble = new Thread(() -> collect(0));
        } else if (args[0].equals("allocate")) {
            trouble = new Thread(Ailing::allocate);
        } else if (args[0].equals("spin")) {
            for (int i = 0; i < amount; i++) {
                start(new Thread(Ailing::spin));
            }
        }
        if (trouble != null) {
            start(trouble);
        }
        System.out.println("ready");
        while (System.in.read() >= 0) {
            if (args[0].equals("fill")) {
                fill();
            }
        }
        System.exit(0);
    }

    private static void start(Thread thread) {
        thread.setDaemon(true);
        thread.start();
    }

    private static void collect(long rest) {
        while (true) {
            System.gc();
            try {
                Thread.sleep(rest);
            } catch (InterruptedException e) {
                return;
            }
        }
    }

    private static void allocate() {
        while (true) {
            sink = new byte[1024];
        }
    }

    private static void fill() {
        while (true) {
            ByteBuffer block = ByteBuffer.allocateDirect(4 << 20);
            while (block.hasRemaining()) {
                block.putLong(1);
            }
            kept.add(block);
        }
    }

    private static void spin() {
        long sum = 0;
        while (kept.isEmpty() || sum >= 0) {
            sum = (sum + 1) & Long.MAX_VALUE;
        }
    }
}
