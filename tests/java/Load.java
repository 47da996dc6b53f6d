import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * A steady load for scripts/compare. Prints "ready", then answers each line of standard input with one line, and ends with it.
 *
 * <pre>
 * work UNITS   does so many units of work; answers with their number
 * used         collects all garbage; answers with the bytes of the heap that are in use
 * </pre>
 */
public final class Load {
    /** About 20 MB that live for a while. */
    private final byte[][] kept = new byte[20_000][];

    private long random = 1;
    private int next;

    public static void main(String[] args) throws Exception {
        answer("ready");
        Load load = new Load();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, "US-ASCII"));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.split(" ");
            answer(words[0].equals("work") ? load.work(Integer.parseInt(words[1])) : used());
        }
        System.exit(0);
    }

    private static void answer(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private String work(int units) {
        for (int i = 0; i < units; i++) {
            unit();
        }
        return String.valueOf(units);
    }

    /** Makes, counts and sorts words, and keeps the result: some tens of microseconds and kilobytes. */
    private void unit() {
        Map<String, Integer> counts = new HashMap<String, Integer>();
        for (int i = 0; i < 200; i++) {
            random = random * 6364136223846793005L + 1442695040888963407L;
            String word = "word" + (random >>> 56);
            Integer count = counts.get(word);
            counts.put(word, count == null ? 1 : count + 1);
        }
        String[] words = counts.keySet().toArray(new String[0]);
        Arrays.sort(words);
        StringBuilder text = new StringBuilder();
        for (String word : words) {
            text.append(word).append(' ').append(counts.get(word)).append('\n');
        }
        kept[next] = text.toString().getBytes();
        next = (next + 1) % kept.length;
    }

    private static String used() {
        for (int i = 0; i < 3; i++) {
            System.gc();
        }
        return String.valueOf(ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed());
    }
}
