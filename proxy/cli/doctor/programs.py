"""The smallest program that asks for one URL, in each language that has to be tried.

Each takes what to ask with, and a URL; it prints its version, exits 0 on an answer, and leaves what
went wrong as the last line of standard error. Exit code 3: this way of asking does not exist here.
"""

MISSING = 3

PYTHON = f"""
import platform, sys
library, url = sys.argv[1:3]
print(platform.python_version(), flush=True)
if library == "urllib":
    from urllib.request import urlopen
    urlopen(url, timeout=60).read()
    sys.exit()
try:
    module = __import__(library)
except ImportError:
    sys.exit({MISSING})
if library == "aiohttp":
    import asyncio
    async def main():
        async with module.ClientSession(trust_env=True) as session:
            async with session.get(url) as answer:
                await answer.read()
    asyncio.run(main())
else:
    module.get(url, timeout=60)
"""

NODE = f"""
const [how, url] = process.argv.slice(1);
console.log(process.version);
const fail = error => {{
  const said = [error, error.cause, ...(error.cause?.errors ?? [])].filter(Boolean);
  console.error(said.map(e => `${{e.code ?? ''}} ${{e.message}}`).join('; ').replace(/\\n/g, ' '));
  process.exit(1);
}};
if (how === 'fetch') {{
  if (typeof fetch === 'undefined') process.exit({MISSING});
  fetch(url).then(answer => answer.text()).catch(fail);
}} else {{
  require(url.startsWith('https') ? 'https' : 'http')
    .get(url, answer => answer.resume()).on('error', fail);
}}
"""

JAVA = """
public class Probe {
    public static void main(String[] given) throws Exception {
        System.out.println(System.getProperty("java.version"));
        java.net.URI uri = java.net.URI.create(given[1]);
        try {
            if (given[0].equals("HttpClient")) {
                java.net.http.HttpClient.newHttpClient().send(
                    java.net.http.HttpRequest.newBuilder(uri).build(),
                    java.net.http.HttpResponse.BodyHandlers.ofString());
            } else {
                uri.toURL().openConnection().getInputStream().readAllBytes();
            }
        } catch (Throwable error) {
            StringBuilder said = new StringBuilder();
            for (Throwable t = error; t != null; t = t.getCause()) said.append(t).append("; ");
            System.err.println(said);
            System.exit(1);
        }
        System.exit(0);
    }
}
"""

GO = """
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
)

func main() {
	fmt.Println(runtime.Version())
	answer, err := http.Get(os.Args[1])
	if err == nil {
		_, err = io.Copy(io.Discard, answer.Body)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
"""
