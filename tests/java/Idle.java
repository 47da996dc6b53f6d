/** Prints "up" and waits to be killed. */
public class Idle {
    public static void main(String[] arguments) throws InterruptedException {
        System.out.println("up");
        System.out.flush();
        Thread.sleep(3_600_000L);
    }
}
